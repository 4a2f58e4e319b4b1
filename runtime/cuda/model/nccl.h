//===- nccl.h - A model of NCCL's sends and receives ----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What cuda/link_nccl.cpp uses of NCCL, between threads of one process, so that it is
// tested where there is no GPU. As in NCCL
//   * a group's operations go on together, one group after another, and a group is done
//     when its messages are received as well as sent, so that ranks whose groups do not
//     match wait for each other;
//   * a communicator that does not block says ncclInProgress meanwhile; of a group on a
//     stream beside the rank's it says that it is there, and who waits for the stream waits
//     for the messages;
//   * messages between two ranks come in the order in which they were sent, and one of
//     another length is an error;
//   * abort ends what is in progress.
// A group of 256 operations or more is an error here.
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_CUDA_MODEL_NCCL_H
#define MOIRE_RT_CUDA_MODEL_NCCL_H

#include "moire/rt/cuda/launch.h"

#include <cstddef>

struct ncclComm;
using ncclComm_t = ncclComm *;
struct ncclUniqueId {
  char internal[128];
};
enum ncclResult_t {
  ncclSuccess = 0,
  ncclInternalError = 3,
  ncclInvalidUsage = 5,
  ncclRemoteError = 6,
  ncclInProgress = 7,
};
enum ncclDataType_t { ncclInt8 = 0 };
struct ncclConfig_t {
  int blocking;
};
#define NCCL_CONFIG_INITIALIZER                                                                    \
  { 1 }

ncclResult_t ncclGetUniqueId(ncclUniqueId *id);
ncclResult_t ncclCommInitRankConfig(ncclComm_t *comm, int ranks, ncclUniqueId id, int rank,
                                    ncclConfig_t *config);
ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t *state);
ncclResult_t ncclCommAbort(ncclComm_t comm);
const char *ncclGetErrorString(ncclResult_t result);
const char *ncclGetLastError(ncclComm_t comm);
ncclResult_t ncclGroupStart();
ncclResult_t ncclGroupEnd();
ncclResult_t ncclSend(const void *data, size_t count, ncclDataType_t type, int peer,
                      ncclComm_t comm, cudaStream_t stream);
ncclResult_t ncclRecv(void *data, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream);

namespace moire::rt::model {
/// As if the network of the thread's communicator had failed: for tests of who notices.
void breakNccl();
} // namespace moire::rt::model

#endif // MOIRE_RT_CUDA_MODEL_NCCL_H
