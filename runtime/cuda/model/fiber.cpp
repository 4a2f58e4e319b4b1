//===- fiber.cpp - Switching stacks ---------------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "cuda/model/fiber.h"

#include <cstdint>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace moire::rt::model {

#if defined(__x86_64__)

// The System V ABI: rbx, rbp and r12 to r15 survive a call.
asm(R"(
.text
.p2align 4
.type moireSwitchFiber, @function
moireSwitchFiber:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size moireSwitchFiber, .-moireSwitchFiber
)");
extern "C" void moireSwitchFiber(void **from, void *to);

void switchFiber(void **from, void *to) { moireSwitchFiber(from, to); }

void *makeFiber(char *stack, size_t bytes, void (*entry)()) {
  auto top = reinterpret_cast<uintptr_t>(stack + bytes) & ~uintptr_t(15);
  auto *sp = reinterpret_cast<void **>(top);
  *--sp = nullptr; // entry finds the stack aligned as after a call
  *--sp = reinterpret_cast<void *>(entry);
  for (int i = 0; i < 6; ++i)
    *--sp = nullptr;
  return sp;
}

#else

namespace {
// The context lies at the top of its own stack.
struct Context {
  ucontext_t context;
};
thread_local Context mainContext;
} // namespace

void switchFiber(void **from, void *to) {
  auto *here = *from ? static_cast<Context *>(*from) : &mainContext;
  *from = here;
  swapcontext(&here->context, &static_cast<Context *>(to)->context);
}

void *makeFiber(char *stack, size_t bytes, void (*entry)()) {
  auto top = reinterpret_cast<uintptr_t>(stack + bytes - sizeof(Context)) & ~uintptr_t(63);
  auto *c = reinterpret_cast<Context *>(top);
  getcontext(&c->context);
  c->context.uc_stack.ss_sp = stack;
  c->context.uc_stack.ss_size = top - reinterpret_cast<uintptr_t>(stack);
  c->context.uc_link = nullptr;
  makecontext(&c->context, entry, 0);
  return c;
}

#endif

} // namespace moire::rt::model
