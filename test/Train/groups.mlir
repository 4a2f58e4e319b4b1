// RUN: moire-opt %s --train-groups='groups=head=^m\.head,late=^m\.[0-9]{1,2}\.,rest=norm' | FileCheck %s
// RUN: not moire-opt %s --train-groups='groups=norm=norm,again=^norm$' 2>&1 | FileCheck %s --check-prefix=NONE
// RUN: not moire-opt %s --train-groups='groups=a=bias' 2>&1 | FileCheck %s --check-prefix=FROZEN
// RUN: not moire-opt %s --train-groups='groups=a=a(' 2>&1 | FileCheck %s --check-prefix=SYNTAX
// RUN: not moire-opt %s --train-groups='groups=a=head,norm' 2>&1 | FileCheck %s --check-prefix=FORM
// RUN: not moire-opt %s --train-groups='groups=a=head,a=norm' 2>&1 | FileCheck %s --check-prefix=TWICE
// RUN: not moire-opt %s --train-groups='groups=a+b=head' 2>&1 | FileCheck %s --check-prefix=NAME
// RUN: not moire-opt %s --train-groups='groups==head' 2>&1 | FileCheck %s --check-prefix=EMPTY
// RUN: not moire-opt %s --train-groups='groups=all=head' 2>&1 | FileCheck %s --check-prefix=ALL
// RUN: not moire-opt %s --train-groups='groups=g0=.,g1=.,g2=.,g3=.,g4=.,g5=.,g6=.,g7=.,g8=.,g9=.,g10=.,g11=.,g12=.,g13=.,g14=.,g15=.,g16=.,g17=.,g18=.,g19=.,g20=.,g21=.,g22=.,g23=.,g24=.,g25=.,g26=.,g27=.,g28=.,g29=.,g30=.,g31=.,g32=.,g33=.,g34=.,g35=.,g36=.,g37=.,g38=.,g39=.,g40=.,g41=.,g42=.,g43=.,g44=.,g45=.,g46=.,g47=.,g48=.,g49=.,g50=.,g51=.,g52=.,g53=.,g54=.,g55=.,g56=.,g57=.,g58=.,g59=.,g60=.,g61=.,g62=.,g63=.,g64=.' 2>&1 | FileCheck %s --check-prefix=MANY

// The first group that finds the PyTorch name, or where there is none the symbol; frozen ones are in none.
// CHECK: pipe.parameter @w0 : tensor<4xf32> torch "m.0.norm.weight" group "late" from
// CHECK: pipe.parameter @m.12.w : tensor<4xf32> group "late" from
// CHECK: pipe.parameter @norm : tensor<4xf32> group "rest" from
// CHECK: pipe.parameter @bias : tensor<4xf32> frozen from
// CHECK: pipe.parameter @m.head.norm : tensor<4xf32> group "head" from
// CHECK: pipe.parameter @other : tensor<4xf32> from
pipe.parameter @w0 : tensor<4xf32> torch "m.0.norm.weight" from [#pipe.source<"a", "", 0, 0, f32, same, 0>]
pipe.parameter @m.12.w : tensor<4xf32> from [#pipe.source<"b", "", 0, 0, f32, same, 0>]
pipe.parameter @norm : tensor<4xf32> from [#pipe.source<"c", "", 0, 0, f32, same, 0>]
pipe.parameter @bias : tensor<4xf32> frozen from [#pipe.source<"d", "", 0, 0, f32, same, 0>]
pipe.parameter @m.head.norm : tensor<4xf32> from [#pipe.source<"e", "", 0, 0, f32, same, 0>]
pipe.parameter @other : tensor<4xf32> from [#pipe.source<"f", "", 0, 0, f32, same, 0>]

// NONE: error: --groups 'again=^norm$' gets no parameter: it matches none that is trained and that no group before it has; --explain-params prints them
// FROZEN: error: --groups 'a=bias' gets no parameter
// SYNTAX: error: --groups 'a=a(': 'a(' is not a regular expression: parentheses not balanced
// FORM: error: --groups 'norm' must be NAME=REGEX
// TWICE: error: --groups names 'a' twice; write one regular expression for it, A|B
// NAME: error: --groups: 'a+b' must be an ASCII name without '@', '+', ',', '=' and blanks, which --update-schedule reads otherwise
// EMPTY: error: --groups: '' has no name
// ALL: error: --groups: 'all' is what --update-schedule calls each group; choose another name
// MANY: error: --groups has 65 groups, of which a trainer keeps 64 at most; join some of them
