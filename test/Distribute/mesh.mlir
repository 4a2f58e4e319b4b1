// The mesh as --mesh gives it: axes in their order, those of size 1 left out.
// RUN: moire-opt %s --set-mesh=axes=tp=2,ep=1,dp=4,pp=2 | FileCheck %s
// RUN: moire-opt %s --set-mesh=axes=dp=1 | FileCheck %s --check-prefix=ONE
// RUN: not moire-opt %s --set-mesh=axes=dp 2>&1 | FileCheck %s --check-prefix=TEXT
// RUN: not moire-opt %s --set-mesh=axes=dp=0 2>&1 | FileCheck %s --check-prefix=ZERO
// RUN: not moire-opt %s --set-mesh=axes=sp=2 2>&1 | FileCheck %s --check-prefix=AXIS
// RUN: not moire-opt %s --set-mesh=axes=dp=2,dp=2 2>&1 | FileCheck %s --check-prefix=TWICE

// CHECK: module attributes {dist.mesh = #dist.mesh<pp = 2, dp = 4, tp = 2>}
// ONE-NOT: dist.mesh
// TEXT: error: --mesh takes NAME=SIZE, a size being 1 or more, not 'dp', for instance dp=2,ep=4
// ZERO: error: --mesh takes NAME=SIZE, a size being 1 or more, not 'dp=0'
// AXIS: error: --mesh knows the axes pp, dp, ep and tp, not 'sp'
// TWICE: error: --mesh names axis 'dp' twice
module {}
