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
  if (data == MAP_FAILED) {
    error = std::string("cannot be mapped: ") + std::strerror(errno);
    ::close(descriptor);
    return nullptr;
  }
  return std::unique_ptr<MappedFile>(
      new MappedFile(descriptor, static_cast<const uint8_t *>(data), status.st_size));
}

MappedFile::~MappedFile() {
  if (size > 0)
    ::munmap(const_cast<uint8_t *>(data), size);
  ::close(descriptor);
}

std::vector<uint8_t> MappedFile::read(int64_t offset, int64_t length) const {
  std::vector<uint8_t> buffer(length);
  int64_t done = 0;
  while (done < length) {
    ssize_t count = ::pread(descriptor, buffer.data() + done, length - done, offset + done);
    if (count <= 0)
      break;
    done += count;
  }
  buffer.resize(done);
  return buffer;
}

void MappedFile::release(int64_t offset, int64_t length) const {
  int64_t page = ::sysconf(_SC_PAGESIZE);
  int64_t begin = (offset + page - 1) / page * page, end = (offset + length) / page * page;
  if (begin < end)
    ::madvise(const_cast<uint8_t *>(data) + begin, end - begin, MADV_DONTNEED);
}

std::unique_ptr<ModelFile> ModelFile::open(const std::string &path, std::string &error) {
  auto result = std::make_unique<ModelFile>();
  result->file = MappedFile::open(path, error);
  if (!result->file)
    return nullptr;
  SlimModel slim;
  // The kernel maps whole folios, up to 2 MiB, around each page that is touched;
  // without this a walk over GPT-2's 500 MB holds 100 MB.
  auto release = [&](Payload payload) {
    constexpr int64_t folio = 2 << 20;
    int64_t begin = std::max<int64_t>(payload.offset - folio, 0);
    if (payload.length >= 1 << 20)
      result->file->release(begin, payload.offset + payload.length - begin);
  };
  if (!slimModel(result->file->bytes(), slim, error, release))
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
