//===- ModelFile.cpp - An ONNX file: its graph parsed, its weights in place -===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "ModelFile.h"
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace moire::frontend;

std::unique_ptr<MappedFile> MappedFile::open(const std::string &path, std::string &error) {
  int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  struct stat status;
  if (descriptor < 0 || ::fstat(descriptor, &status) != 0) {
    error = std::string("cannot be read: ") + std::strerror(errno);
    if (descriptor >= 0)
      ::close(descriptor);
    return nullptr;
  }
  if (!S_ISREG(status.st_mode)) {
    ::close(descriptor);
    error = S_ISDIR(status.st_mode) ? "is a folder; give a file" : "is not a regular file";
    return nullptr;
  }
  void *data = nullptr; // an empty file cannot be mapped
  if (status.st_size > 0)
    data = ::mmap(nullptr, status.st_size, PROT_READ, MAP_PRIVATE, descriptor, 0);
  ::close(descriptor);
  if (data == MAP_FAILED) {
    error = std::string("cannot be mapped: ") + std::strerror(errno);
    return nullptr;
  }
  return std::unique_ptr<MappedFile>(
      new MappedFile(static_cast<const uint8_t *>(data), status.st_size));
}

MappedFile::~MappedFile() {
  if (size > 0)
    ::munmap(const_cast<uint8_t *>(data), size);
}

std::unique_ptr<ModelFile> ModelFile::open(const std::string &path, std::string &error) {
  auto result = std::make_unique<ModelFile>();
  result->file = MappedFile::open(path, error);
  if (!result->file)
    return nullptr;
  SlimModel slim;
  if (!slimModel(result->file->bytes(), slim, error))
    return nullptr;
  if (slim.bytes.size() > INT32_MAX) {
    error = "has more than 2 GiB of graph without its weights";
    return nullptr;
  }
  result->model = google::protobuf::Arena::CreateMessage<pb::ModelProto>(&result->arena);
  if (!result->model->ParseFromArray(slim.bytes.data(), static_cast<int>(slim.bytes.size()))) {
    error = "is damaged: its protobuf does not parse; export or copy it again";
    return nullptr;
  }
  result->payloads = std::move(slim.payloads);
  return result;
}
