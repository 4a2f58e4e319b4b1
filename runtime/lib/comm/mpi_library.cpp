//===- mpi_library.cpp - Open MPI's library, loaded where it is needed ----===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "comm/mpi_library.h"
#include "moire/rt/memory.h"

#include <cstring>
#include <dlfcn.h>
#include <string>

namespace moire::rt {

MpiLibrary::MpiLibrary() {
  void *library = nullptr;
  for (const char *name : {"libmpi.so.40", "libmpi.so"})
    if (!library)
      library = dlopen(name, RTLD_NOW | RTLD_GLOBAL);
  if (!library)
    throw RunError(std::string("mpirun started this process, but Open MPI's library cannot be "
                               "loaded (") +
                   dlerror() + "); put it where the loader looks");
  auto find = [&](const char *symbol, auto &to) {
    void *address = dlsym(library, symbol);
    if (!address)
      throw RunError(std::string("libmpi.so has no ") + symbol +
                     "; use the library of the Open MPI whose mpirun started this process");
    std::memcpy(&to, &address, sizeof to);
  };
  find("MPI_Init_thread", initThread);
  find("MPI_Finalize", finalize);
  find("MPI_Abort", abort);
  find("MPI_Comm_rank", rankOf);
  find("MPI_Comm_size", sizeOf);
  find("MPI_Isend", send);
  find("MPI_Irecv", receive);
  find("MPI_Test", test);
  find("ompi_mpi_comm_world", world);
  find("ompi_mpi_byte", byte);
}

} // namespace moire::rt
