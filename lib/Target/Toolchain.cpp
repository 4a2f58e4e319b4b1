//===- Toolchain.cpp - What compiles a program for each target ------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Toolchain.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Program.h"
#include <cstdlib>

using namespace llvm;
using namespace moire::target;
namespace fs = llvm::sys::fs;
namespace path = llvm::sys::path;

RuntimePaths moire::target::findRuntime(TargetKind target) {
  static int anchor;
  std::string bin =
      path::parent_path(fs::getMainExecutable(nullptr, static_cast<void *>(&anchor))).str();
  auto first = [](std::initializer_list<std::string> candidates) {
    for (const std::string &candidate : candidates)
      if (fs::exists(candidate))
        return candidate;
    return std::string();
  };
  std::string library = "libmoire_rt.a";
  if (target == TargetKind::cuda)
    library = "libmoire_rt_cuda.a";
  else if (target == TargetKind::cudaModel)
    library = "libmoire_rt_model.a";
  return {first({MOIRE_RUNTIME_SOURCES, bin + "/../share/moire/runtime", bin + "/../../runtime"}),
          first({std::string(MOIRE_LIBRARIES) + "/" + library, bin + "/../lib/" + library})};
}

//===----------------------------------------------------------------------===//
// Flags
//===----------------------------------------------------------------------===//

std::vector<std::string> moire::target::callerFlags(const EmitOptions &options) {
  // As runtime/CMakeLists.txt has them: without errno and traps comparisons
  // become selects, which vectorise; neither changes a value. These files only
  // call: optimizing them would take long and gain nothing.
  std::vector<std::string> flags{"-std=c++17", "-march=native", "-fopenmp", "-fno-math-errno",
                                 "-fno-trapping-math"};
  if (options.target == TargetKind::cuda)
    flags = {"-std=c++17", "-fopenmp", "-DMOIRE_TARGET_CUDA"};
  else if (options.target == TargetKind::cudaModel)
    flags.push_back("-DMOIRE_CUDA_MODEL");
  flags.push_back("-O1");
  return flags;
}

std::vector<std::string> moire::target::kernelFlags(const EmitOptions &options) {
  // A fused functor must round as the unfused one, so no contraction of a*b + c.
  if (options.target == TargetKind::cuda) {
    // Not -arch: for sm_90a it adds code for compute_90, which has no wgmma. -O is of
    // the host's part, which only launches; what the GPU runs is optimized always.
    std::string number = options.arch.substr(3);
    return {"-std=c++17",
            "-gencode=arch=compute_" + number + ",code=" + options.arch,
            "-O1",
            "--fmad=false",
            "-DMOIRE_TARGET_CUDA",
            "-Werror",
            "all-warnings"};
  }
  std::vector<std::string> flags = callerFlags(options);
  flags.back() = "-O3";
  flags.push_back("-ffp-contract=off");
  if (options.target == TargetKind::cudaModel) { // one thread's text: nothing to vectorise
    flags.push_back("-O2");
    flags.push_back("-fno-tree-vectorize");
  }
  return flags;
}

std::vector<std::string> moire::target::libraryFlags(const EmitOptions &options) {
  switch (options.target) {
  case TargetKind::cpu:
    return {"-ldnnl"};
  case TargetKind::cuda:
    return {"-lcudart", "-lcublasLt", "-ldl"};
  case TargetKind::cudaModel:
    return {};
  }
  return {};
}

//===----------------------------------------------------------------------===//
// Programs
//===----------------------------------------------------------------------===//

std::string moire::target::findNvcc() {
  if (const char *given = std::getenv("NVCC"); given && *given) {
    auto found = sys::findProgramByName(given);
    return found ? *found : std::string();
  }
  if (auto found = sys::findProgramByName("nvcc"))
    return *found;
  const char *home = std::getenv("CUDA_HOME");
  for (std::string folder : {std::string(home ? home : ""), std::string("/usr/local/cuda")})
    if (!folder.empty() && fs::can_execute(folder + "/bin/nvcc"))
      return folder + "/bin/nvcc";
  return {};
}

static Expected<std::vector<std::string>> hostCompiler() {
  const char *given = std::getenv("CXX"); // may hold arguments
  SmallVector<StringRef> words;
  StringRef(given && *given ? given : MOIRE_HOST_COMPILER).split(words, ' ', -1, false);
  auto program = sys::findProgramByName(words.empty() ? "c++" : words[0]);
  if (!program)
    return createStringError("the host compiler '" + words[0].str() +
                             "' is not there; install g++, or name another one in CXX");
  std::vector<std::string> compiler{*program};
  for (StringRef word : ArrayRef<StringRef>(words).drop_front())
    compiler.push_back(word.str());
  return compiler;
}

Expected<Toolchain> moire::target::findToolchain(const EmitOptions &options,
                                                 const RuntimePaths &runtime) {
  auto host = hostCompiler();
  if (!host)
    return host.takeError();
  Toolchain tools;
  std::vector<std::string> include{"-I" + runtime.sources + "/include"};
  if (options.target != TargetKind::cpu)
    include.push_back("-I" + runtime.sources);
  auto extend = [](std::vector<std::string> &list, const std::vector<std::string> &more) {
    llvm::append_range(list, more);
  };
  tools.callers = tools.kernels = tools.link = *host;
  extend(tools.callers, callerFlags(options));
  extend(tools.callers, include);
  if (options.target == TargetKind::cuda)
    tools.kernels = {findNvcc(), "-ccbin", host->front()};
  extend(tools.kernels, kernelFlags(options));
  extend(tools.kernels, include);
  if (options.target == TargetKind::cudaModel)
    extend(tools.kernels, {"-x", "c++"});
  tools.link.push_back("-fopenmp");
  tools.libraries.push_back(runtime.library);
  if (options.target == TargetKind::cuda) {
    std::string lib = (path::parent_path(path::parent_path(findNvcc())) + "/lib64").str();
    extend(tools.libraries, {"-L" + lib, "-Wl,-rpath," + lib});
  }
  extend(tools.libraries, libraryFlags(options));
  if (options.target == TargetKind::cuda)
    // Where the runtime was built with cuDNN it is needed, else dropped.
    for (const char *folder : {"/lib64", "/lib"})
      if (fs::exists(path::parent_path(path::parent_path(findNvcc())) + folder + "/libcudnn.so")) {
        extend(tools.libraries, {"-Wl,--as-needed", "-lcudnn", "-lnvrtc"});
        break;
      }
  if (options.target == TargetKind::cuda)
    // A program of one rank does not refer to it.
    for (const char *folder : {"/lib64", "/lib"})
      if (fs::exists(path::parent_path(path::parent_path(findNvcc())) + folder + "/libnccl.so")) {
        extend(tools.libraries, {"-Wl,--as-needed", "-lnccl"});
        break;
      }
  return tools;
}
