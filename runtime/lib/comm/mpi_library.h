//===- mpi_library.h - Open MPI's library, loaded where it is needed ------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Loaded when mpirun started the process and not linked, so that one trainer runs with
// and without it. What is declared here is Open MPI's binary interface, the same in its
// versions 4 and 5 (libmpi.so.40): handles are pointers to objects that the library
// exports.
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_COMM_MPI_LIBRARY_H
#define MOIRE_RT_COMM_MPI_LIBRARY_H

#include <cstddef>

namespace moire::rt {

struct MpiLibrary {
  using Handle = void *;
  struct Status {
    int source, tag, error, cancelled;
    size_t bytes;
  };
  static constexpr int kSerialized = 2; ///< MPI_THREAD_SERIALIZED

  int (*initThread)(int *, char ***, int, int *);
  int (*finalize)();
  int (*abort)(Handle, int);
  int (*rankOf)(Handle, int *);
  int (*sizeOf)(Handle, int *);
  int (*send)(const void *, int, Handle, int, int, Handle, Handle *);
  int (*receive)(void *, int, Handle, int, int, Handle, Handle *);
  int (*test)(Handle *, int *, Status *); ///< status may be null: MPI_STATUS_IGNORE
  Handle world, byte;

  /// Throws RunError where it cannot be loaded or is another MPI's.
  MpiLibrary();
};

} // namespace moire::rt

#endif // MOIRE_RT_COMM_MPI_LIBRARY_H
