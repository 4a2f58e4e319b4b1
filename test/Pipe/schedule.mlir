// RUN: moire-opt %s --pipe-schedule="kind=gpipe microbatches=2 messages=false" | FileCheck %s --check-prefix=GPIPE
// RUN: moire-opt %s --pipe-schedule="kind=1f1b microbatches=2 name=step latency=0.5 bandwidth=8 contention=0.6 memory-limit=64" | FileCheck %s --check-prefix=1F1B
// RUN: moire-opt %s --pipe-schedule="kind=interleaved:2 microbatches=1 messages=false" | FileCheck %s --check-prefix=INTERLEAVED
// RUN: moire-opt %s --pipe-schedule="kind=zb-h1 microbatches=2 messages=false" | FileCheck %s --check-prefix=ZBH1
// RUN: moire-opt %s --pipe-schedule="kind=zb-h2 microbatches=3 messages=false" | FileCheck %s --check-prefix=ZBH2
// RUN: moire-opt %s --pipe-schedule="kind=zb-v microbatches=1 messages=false" | FileCheck %s --check-prefix=V
// RUN: moire-opt %s --pipe-schedule="kind=v-half microbatches=1 messages=false" | FileCheck %s --check-prefix=V
// RUN: moire-opt %s --pipe-schedule="kind=dualpipev microbatches=2 messages=false" | FileCheck %s --check-prefix=DUALPIPEV
// RUN: moire-opt %s --pipe-schedule="kind=dualpipe microbatches=4 messages=false" | FileCheck %s --check-prefix=DUALPIPE

// Stages need not stand in their order.
pipe.stage @head index 1
pipe.stage @embed index 0

// GPIPE:      pipe.stage @embed
// GPIPE-NEXT: pipe.schedule @schedule kind "gpipe"
// GPIPE-NEXT:     stages [@embed, @head]
// GPIPE-NEXT:     path micro_batches 2 ranks [0, 1] {
// GPIPE-NEXT:   rank 0 {
// GPIPE-NEXT:     forward stage 0 micro_batch 0
// GPIPE-NEXT:     forward stage 0 micro_batch 1
// GPIPE-NEXT:     backward stage 0 micro_batch 0
// GPIPE-NEXT:     backward stage 0 micro_batch 1
// GPIPE-NEXT:   }

// 1F1B:      pipe.schedule @step kind "1f1b"
// 1F1B-NEXT:     stages [@embed, @head]
// 1F1B-NEXT:     path micro_batches 2 ranks [0, 1]
// 1F1B-NEXT:     link latency 0.5 bandwidth 8
// 1F1B-NEXT:     contention 0.6
// 1F1B-NEXT:     memory_limit 64 {
// 1F1B-NEXT:   rank 0 {
// 1F1B-NEXT:     forward stage 0 micro_batch 0
// 1F1B-NEXT:     forward stage 0 micro_batch 1
// 1F1B-NEXT:     backward stage 0 micro_batch 0
// 1F1B-NEXT:     backward stage 0 micro_batch 1
// 1F1B-NEXT:   } queue {
// 1F1B-NEXT:     send activation stage 0 micro_batch 0 to 1
// 1F1B-NEXT:     send activation stage 0 micro_batch 1 to 1
// 1F1B-NEXT:     receive cotangent stage 1 micro_batch 0 from 1
// 1F1B-NEXT:     receive cotangent stage 1 micro_batch 1 from 1
// 1F1B-NEXT:   }
// 1F1B-NEXT:   rank 1 {
// 1F1B-NEXT:     forward stage 1 micro_batch 0
// 1F1B-NEXT:     backward stage 1 micro_batch 0
// 1F1B-NEXT:     forward stage 1 micro_batch 1
// 1F1B-NEXT:     backward stage 1 micro_batch 1
// 1F1B-NEXT:   } queue {
// 1F1B-NEXT:     receive activation stage 0 micro_batch 0 from 0
// 1F1B-NEXT:     receive activation stage 0 micro_batch 1 from 0
// 1F1B-NEXT:     send cotangent stage 1 micro_batch 0 to 0
// 1F1B-NEXT:     send cotangent stage 1 micro_batch 1 to 0

// Two stages on one rank.
// INTERLEAVED:      kind "interleaved:2"
// INTERLEAVED:          path micro_batches 1 ranks [0, 0] {
// INTERLEAVED-NEXT:   rank 0 {
// INTERLEAVED-NEXT:     forward stage 0 micro_batch 0
// INTERLEAVED-NEXT:     forward stage 1 micro_batch 0
// INTERLEAVED-NEXT:     backward stage 1 micro_batch 0
// INTERLEAVED-NEXT:     backward stage 0 micro_batch 0
// INTERLEAVED-NEXT:   }

// ZBH1:      kind "zb-h1"
// ZBH1:        rank 1 {
// ZBH1-NEXT:     forward stage 1 micro_batch 0
// ZBH1-NEXT:     backward_input stage 1 micro_batch 0
// ZBH1-NEXT:     forward stage 1 micro_batch 1
// ZBH1-NEXT:     backward_input stage 1 micro_batch 1
// ZBH1-NEXT:     backward_weight stage 1 micro_batch 0
// ZBH1-NEXT:     backward_weight stage 1 micro_batch 1

// The first rank runs three forwards ahead.
// ZBH2:      kind "zb-h2"
// ZBH2:        rank 0 {
// ZBH2-NEXT:     forward stage 0 micro_batch 0
// ZBH2-NEXT:     forward stage 0 micro_batch 1
// ZBH2-NEXT:     forward stage 0 micro_batch 2
// ZBH2-NEXT:     backward_input stage 0 micro_batch 0

// V:      kind "{{zb-v|v-half}}"
// V:          path micro_batches 1 ranks [0, 0] {
// V-NEXT:   rank 0 {
// V-NEXT:     forward stage 0 micro_batch 0
// V-NEXT:     forward stage 1 micro_batch 0
// V-NEXT:     backward_input stage 1 micro_batch 0

// DUALPIPEV:      kind "dualpipev"
// DUALPIPEV:          path micro_batches 2 ranks [0, 0] {
// DUALPIPEV-NEXT:   rank 0 {
// DUALPIPEV-NEXT:     forward stage 0 micro_batch 0
// DUALPIPEV-NEXT:     forward stage 1 micro_batch 0
// DUALPIPEV-NEXT:     forward stage 0 micro_batch 1
// DUALPIPEV-NEXT:     backward stage 1 micro_batch 0
// DUALPIPEV-NEXT:     overlap { forward stage 1 micro_batch 1  backward stage 0 micro_batch 0 }

// DUALPIPE:      kind "dualpipe"
// DUALPIPE-NEXT:     stages [@embed, @head]
// DUALPIPE-NEXT:     path micro_batches 2 ranks [0, 1]
// DUALPIPE-NEXT:     path micro_batches 2 ranks [1, 0] {
// DUALPIPE-NEXT:   rank 0 {
// DUALPIPE-NEXT:     forward stage 0 micro_batch 0
// DUALPIPE-NEXT:     forward stage 1 micro_batch 0 path 1
// DUALPIPE-NEXT:     forward stage 0 micro_batch 1
// DUALPIPE-NEXT:     backward stage 1 micro_batch 0 path 1
// DUALPIPE-NEXT:     overlap { forward stage 1 micro_batch 1 path 1  backward stage 0 micro_batch 0 }
