// RUN: moire-opt %s --train-freeze=match='^m\..*norm' | FileCheck %s
// RUN: not moire-opt %s --train-freeze=match=bert 2>&1 | FileCheck %s --check-prefix=NONE
// RUN: not moire-opt %s --train-freeze=match='a(' 2>&1 | FileCheck %s --check-prefix=SYNTAX

// The PyTorch name counts where there is one, else the symbol.
// CHECK: pipe.parameter @w0 : tensor<4xf32> torch "m.0.norm.weight" frozen
// CHECK: pipe.parameter @m.norm : tensor<4xf32> frozen
// CHECK: pipe.parameter @norm : tensor<4xf32> from
pipe.parameter @w0 : tensor<4xf32> torch "m.0.norm.weight" from [#pipe.source<"a", "", 0, 0, f32, same, 0>]
pipe.parameter @m.norm : tensor<4xf32> from [#pipe.source<"b", "", 0, 0, f32, same, 0>]
pipe.parameter @norm : tensor<4xf32> from [#pipe.source<"c", "", 0, 0, f32, same, 0>]

// NONE: error: --freeze 'bert' matches none of the model's parameters, which have names like 'm.0.norm.weight'; --explain-params prints them
// SYNTAX: error: --freeze 'a(' is not a regular expression: parentheses not balanced
