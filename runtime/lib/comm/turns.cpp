//===- turns.cpp - Who may use a rank's transport, and how long it took ----===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "comm/turns.h"

#include <algorithm>

namespace moire::rt {

namespace {
double wallSeconds() {
  return std::chrono::duration<double>(Transport::Clock::now().time_since_epoch()).count();
}
} // namespace

Comm::Comm(std::unique_ptr<Transport> t, Mesh m, const std::vector<std::vector<int>> &groups,
           const CommOptions &options)
    : mesh(std::move(m)), transport(std::move(t)), time(std::make_unique<VirtualTime>()),
      queue(std::make_unique<CommQueue>(options.patience)) {
  for (const std::vector<int> &axes : groups)
    table.push_back(mesh.group(rank(), axes));
  time->on = transport->clock.on = options.virtualTime;
}

Comm::~Comm() = default;

char *Comm::grow(Block &room, int64_t bytes) {
  if (bytes > room.size())
    room = Block(bytes);
  return room.data();
}

//===----------------------------------------------------------------------===//
// The queue
//===----------------------------------------------------------------------===//

Ticket Comm::start(std::function<void()> job) {
  Ticket ticket;
  if (!time->on) {
    ticket.number = queue->put(std::move(job));
    return ticket;
  }
  time->enter();
  ticket.end = std::make_shared<double>(0);
  ticket.number = queue->put([this, begin = time->compute, end = ticket.end, job = std::move(job)] {
    time->queue = std::max(time->queue, begin);
    job();
    *end = time->queue;
  });
  time->leave();
  return ticket;
}

void Comm::wait(const Ticket &ticket) {
  if (!time->on) {
    const double begin = wallSeconds();
    queue->wait(ticket.number);
    spent.exposed += wallSeconds() - begin;
    return;
  }
  time->enter();
  queue->wait(ticket.number);
  spent.exposed += std::max(0.0, *ticket.end - time->compute);
  time->compute = std::max(time->compute, *ticket.end);
  time->leave();
}

void Comm::abandon(const std::string &why) noexcept {
  transport->abort(why);
  queue->stop();
}

double Comm::virtualNow() {
  time->enter();
  time->leave();
  return time->compute;
}

Comm::Turn::Turn(Comm &comm) : comm(comm), outer(!comm.queue->isThis() && comm.depth++ == 0) {
  if (!outer)
    return;
  const double begin = wallSeconds();
  if (comm.time->on)
    comm.time->enter();
  try {
    comm.queue->drain();
  } catch (...) {
    --comm.depth;
    throw;
  }
  if (comm.time->on) {
    comm.spent.exposed += std::max(0.0, comm.time->queue - comm.time->compute);
    comm.time->compute = std::max(comm.time->compute, comm.time->queue);
  } else {
    comm.spent.exposed += wallSeconds() - begin;
  }
}

Comm::Turn::~Turn() {
  if (comm.queue->isThis())
    return;
  --comm.depth;
  if (outer && comm.time->on)
    comm.time->leave();
}

//===----------------------------------------------------------------------===//
// Time
//===----------------------------------------------------------------------===//

void Comm::exchange(const char *what, const std::vector<Message> &sends,
                    const std::vector<Message> &receives, const Transport::Use *use) {
  const Turn turn(*this);
  const bool computing = !queue->isThis();
  if (!time->on) {
    const double begin = wallSeconds();
    transport->exchange(what, sends, receives, use);
    const double seconds = wallSeconds() - begin;
    spent.moving += seconds;
    if (computing)
      spent.exposed += seconds;
    if (observer)
      observer(what, begin, begin + seconds);
    return;
  }
  double &now = computing ? time->compute : time->queue;
  const double begin = now;
  transport->clock.now = transport->clock.ready = begin;
  // What is computed of the messages takes the time that it takes; copying them is the
  // network's.
  double adding = 0;
  const Transport::Use timed = [&](const void *const *received) {
    const double before = threadSeconds();
    (*use)(received);
    adding = threadSeconds() - before;
  };
  transport->exchange(what, sends, receives, use ? &timed : nullptr);
  now = std::max(begin, transport->clock.now) + adding;
  spent.moving += now - std::max(begin, transport->clock.ready);
  if (computing)
    spent.exposed += now - begin;
}

} // namespace moire::rt
