# What lit needs to know of the tests in this folder.
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import os
import sys

import lit.formats
import lit.util

config.name = "Moire"
config.test_format = lit.formats.ShTest(not lit.util.which("bash"))
config.suffixes = [".mlir", ".textproto", ".test"]
config.excludes = ["Inputs", "CMakeLists.txt", "lit.cfg.py", "unit"]
config.test_source_root = os.path.dirname(__file__)
config.test_exec_root = os.path.join(config.moire_obj_root, "test")
config.environment["PATH"] = os.path.pathsep.join(
    [config.moire_tools_dir, config.llvm_tools_dir, config.environment["PATH"]]
)
config.substitutions.append(("%onnx_proto", os.path.join(config.moire_src_root, "lib/Frontend/onnx.proto")))
config.substitutions.append(("%python", sys.executable))
config.substitutions.append(("%src_root", config.moire_src_root))

# Real exports with PyTorch's numbers, beside the checkout where they are at hand.
corpus = os.path.join(os.path.dirname(config.moire_src_root), "shared", "corpus")
corpus = os.environ.get("MOIRE_CORPUS", corpus)
if os.path.isdir(corpus):
    config.available_features.add("corpus")
    config.substitutions.append(("%corpus", corpus))

# Schedules recorded from the published DualPipe and DualPipeV.
vectors = os.path.join(os.path.dirname(config.moire_src_root), "shared", "vectors")
vectors = os.environ.get("MOIRE_VECTORS", vectors)
if os.path.isfile(os.path.join(vectors, "pipeline.json")):
    config.available_features.add("vectors")
    config.substitutions.append(("%vectors", vectors))

# ONNX's backend tests of single ops (Debian's libonnx-testdata).
backend = os.environ.get("MOIRE_ONNX_TESTDATA", "/usr/share/libonnx-testdata/data")
if os.path.isdir(os.path.join(backend, "node")):
    config.available_features.add("onnx-testdata")
    config.substitutions.append(("%onnx_testdata", backend))
