//===- pipeline.cpp - One rank's part of a pipeline's schedule ------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "train/pipeline.h"
#include "moire/rt/device.h"
#include "moire/rt/gradients.h"
#include "moire/rt/optimizer.h"

#include <algorithm>

namespace moire::rt {

namespace {
int64_t bytesOf(const std::pair<const KeptInfo *, int64_t> &tensors) {
  int64_t sum = 0;
  for (int64_t i = 0; i < tensors.second; ++i)
    sum += tensors.first[i].bytes;
  return sum;
}

std::vector<Piece> piecesIn(char *slot, const std::pair<const KeptInfo *, int64_t> &tensors) {
  std::vector<Piece> pieces;
  for (int64_t i = 0; i < tensors.second; ++i)
    pieces.push_back({slot + tensors.first[i].offset, tensors.first[i].bytes});
  return pieces;
}
/// The same one after another.
std::vector<Piece> piecesFrom(char *inbox, const std::pair<const KeptInfo *, int64_t> &tensors) {
  std::vector<Piece> pieces;
  for (int64_t i = 0; i < tensors.second; ++i) {
    pieces.push_back({inbox, tensors.first[i].bytes});
    inbox += tensors.first[i].bytes;
  }
  return pieces;
}

[[noreturn]] void contradiction(const std::string &what) {
  throw RunError("the program's pipeline contradicts itself: " + what +
                 "; compile the model again");
}
} // namespace

bool tasksAreAlone(const Program &p) {
  bool overData = false;
  for (int64_t axis = 0; axis < p.numAxes; ++axis) {
    const std::string name = p.axes[axis].name;
    if (p.axes[axis].size == 1 || name == "pp")
      continue;
    if (name != "dp")
      return false;
    overData = true;
  }
  const std::vector<const ParameterInfo *> all = allParameters(p);
  return !overData || (p.numRouters == 0 && std::all_of(all.begin(), all.end(), [](const auto *of) {
                         return of->zero < 2;
                       }));
}

Pipeline::Pipeline(Context &ctx, Transport *link, double patience, Trace *trace)
    : ctx(ctx), info(*ctx.program->pipeline),
      pp(ctx.comm ? ctx.comm->groupOver("pp") : Group{{0}, 0}), self(info.ranks[pp.index]),
      link(link), trace(trace), queue(patience) {
  checkTables();
  for (int64_t i = self.numInboxes; i-- > 0;)
    freeInboxes.push_back(int(i));
  // A contradiction is told before the first step, in whichever round it is.
  for (int64_t number = info.numRounds; number-- > 0;)
    chooseRound(number, false);
}

Pipeline::~Pipeline() {
  {
    std::lock_guard<std::mutex> hold(lock);
    stopping = true;
  }
  changed.notify_all();
  queue.stop();
}

void Pipeline::connect(int64_t most) {
  graphNodes = most;
  StageCounts counts{0, 0, self.numInboxes};
  for (int64_t i = 0; i < info.numRounds; ++i) {
    counts.tasks = std::max(counts.tasks, self.rounds[i].numTasks);
    counts.messages = std::max(counts.messages, self.rounds[i].numMessages);
  }
  messages = stageMessages(ctx, link, counts);
}

//===----------------------------------------------------------------------===//
// The tables
//===----------------------------------------------------------------------===//

void Pipeline::checkTables() {
  if (info.numRanks != pp.size())
    contradiction("it is for " + std::to_string(info.numRanks) +
                  " ranks, the mesh has pp=" + std::to_string(pp.size()));
  const auto all = allParameters(*ctx.program);
  for (size_t i = 0; i < all.size(); ++i)
    if (all[i]->index != int64_t(i))
      contradiction(std::string("parameter '") + all[i]->name + "' has number " +
                    std::to_string(all[i]->index) + " of the model's, it is number " +
                    std::to_string(i));
  for (int64_t s = 0; s + 1 < info.numStages; ++s) {
    const StageInfo &stage = info.stages[s], &next = info.stages[s + 1];
    auto check = [&](const char *what, int64_t n, const KeptInfo *here, int64_t m,
                     const KeptInfo *there) {
      bool same = n == m;
      for (int64_t i = 0; same && i < n; ++i)
        same = here[i].bytes == there[i].bytes;
      if (!same)
        contradiction(std::string(what) + " between stages " + std::to_string(s) + " and " +
                      std::to_string(s + 1) + " are " + std::to_string(bytesOf({here, n})) +
                      " bytes in " + std::to_string(n) + " tensors in one and " +
                      std::to_string(bytesOf({there, m})) + " in " + std::to_string(m) +
                      " in the other");
    };
    check("activations", stage.numOutputs, stage.outputs, next.numInputs, next.inputs);
    check("cotangents", stage.numOutputCotangents, stage.outputCotangents, next.numInputCotangents,
          next.inputCotangents);
  }
}

int Pipeline::find(bool backward, int path, int stage, int microBatch) const {
  for (int64_t i = 0; i < own.numTasks; ++i) {
    const TaskInfo &t = own.tasks[i];
    const bool matches = backward
                             ? t.kind == TaskKind::backward || t.kind == TaskKind::backwardInput
                             : t.kind == TaskKind::forward;
    if (matches && t.path == path && t.stage == stage && t.microBatch == microBatch)
      return int(i);
  }
  return -1;
}

void Pipeline::keepForwards() {
  // What is left of an order that ends ends, too: it waits for less.
  forwards.clear();
  for (int64_t i = 0; i < own.numTasks; ++i)
    if (own.tasks[i].kind == TaskKind::forward) {
      forwards.push_back(own.tasks[i]);
      forwards.back().pair = nullptr;
    }
  activations.clear();
  for (int64_t m = 0; m < own.numMessages; ++m)
    if (!own.messages[m].cotangent)
      activations.push_back(own.messages[m]);
  own.tasks = forwards.data();
  own.numTasks = int64_t(forwards.size());
  own.messages = activations.data();
  own.numMessages = int64_t(activations.size());
}

void Pipeline::chooseRound(int64_t number, bool forwardTasks) {
  if (chosen == number && forwardsAlone == forwardTasks)
    return;
  chosen = number;
  forwardsAlone = forwardTasks;
  own = self.rounds[number];
  if (forwardsAlone)
    keepForwards();
  firstOf.clear();
  for (int64_t path = 0, sum = 0; path < info.numPaths; ++path) {
    firstOf.push_back(sum);
    sum += info.rounds[number].microBatches[path];
  }
  slotOffset.assign(info.numStages, -1);
  leaving.assign(info.numStages, {});
  inStage.resize(info.numStages);
  for (int64_t i = 0; i < self.numStages; ++i) {
    slotOffset[self.stages[i].stage] = self.stages[i].offset;
    leaving[self.stages[i].stage].resize(self.stages[i].slots);
  }
  taskOf.clear();
  around.assign(own.numTasks, {});
  for (int64_t m = 0; m < own.numMessages; ++m) {
    const MessageInfo &message = own.messages[m];
    const int stage = message.send ? message.stage : message.stage + (message.cotangent ? -1 : 1);
    const int task = find(message.cotangent, message.path, stage, message.microBatch);
    if (task < 0)
      contradiction("rank " + std::to_string(pp.index) + " of pp has no task for the " +
                    name(message.cotangent, message.path, message.stage, message.microBatch));
    taskOf.push_back(task);
    if (message.send)
      around[task].sends.push_back(int(m));
    else
      around[task].message = int(m);
  }
  for (int64_t i = 0; i < own.numTasks; ++i) {
    const TaskInfo &t = own.tasks[i];
    if (t.pair && (i + 1 == own.numTasks || own.tasks[i + 1].pair))
      contradiction("task " + std::to_string(i) + " of rank " + std::to_string(pp.index) +
                    " of pp begins a pair that no task ends");
    if (slotOffset[t.stage] < 0 || t.slot < 0 || t.slot >= int64_t(leaving[t.stage].size()) ||
        !info.stages[t.stage].functions[int(t.kind)])
      contradiction("rank " + std::to_string(pp.index) + " of pp has no slot " +
                    std::to_string(t.slot) + " or no function for stage " +
                    std::to_string(t.stage));
    if (bytesOf(inputsOf(t)) > self.inboxBytes)
      contradiction("inputs of stage " + std::to_string(t.stage) + " have " +
                    std::to_string(bytesOf(inputsOf(t))) + " bytes, an inbox has " +
                    std::to_string(self.inboxBytes));
    if (bytesOf(inputsOf(t)) == 0 || around[i].message >= 0)
      continue;
    const bool backward = t.kind != TaskKind::forward;
    // A pair takes what it reads before either of its tasks.
    const int64_t before = i > 0 && own.tasks[i - 1].pair ? i - 1 : i;
    const int from = find(backward, t.path, t.stage + (backward ? 1 : -1), t.microBatch);
    if (from < 0 || from >= before)
      contradiction("nothing brings stage " + std::to_string(t.stage) + " on rank " +
                    std::to_string(pp.index) + " of pp the " +
                    name(backward, t.path, t.stage + (backward ? 1 : -1), t.microBatch));
    around[from].consumer = int(i);
  }
  jobs.assign(own.numMessages, 0);
  inboxOf.assign(own.numTasks, 0);
  mostHandedOver = 0;
  for (int64_t i = 0, now = 0; i < own.numTasks; ++i) {
    now -= around[i].message < 0 && bytesOf(inputsOf(own.tasks[i])) > 0;
    mostHandedOver = std::max(mostHandedOver, now += around[i].consumer >= 0);
  }
}

Pipeline::Kept Pipeline::inputsOf(const TaskInfo &task) const {
  const StageInfo &s = info.stages[task.stage];
  switch (task.kind) {
  case TaskKind::forward:
    return {s.inputs, s.numInputs};
  case TaskKind::backward:
  case TaskKind::backwardInput:
    return {s.outputCotangents, s.numOutputCotangents};
  case TaskKind::backwardWeight:
    break;
  }
  return {nullptr, 0};
}
Pipeline::Kept Pipeline::outputsOf(const TaskInfo &task) const {
  const StageInfo &s = info.stages[task.stage];
  switch (task.kind) {
  case TaskKind::forward:
    return {s.outputs, s.numOutputs};
  case TaskKind::backward:
  case TaskKind::backwardInput:
    return {s.inputCotangents, s.numInputCotangents};
  case TaskKind::backwardWeight:
    break;
  }
  return {nullptr, 0};
}

char *Pipeline::slotOf(const TaskInfo &t) const {
  return ctx.at<char>(slotOffset[t.stage] + t.slot * info.stages[t.stage].slotBytes);
}

std::string Pipeline::name(bool cotangent, int path, int stage, int microBatch) const {
  return std::string(cotangent ? "cotangent" : "activation") + " of stage " +
         std::to_string(stage) + ", micro-batch " + std::to_string(microBatch) +
         (info.numPaths > 1 ? " of path " + std::to_string(path) : "");
}

//===----------------------------------------------------------------------===//
// Inboxes
//===----------------------------------------------------------------------===//

bool Pipeline::mayReceive(int message) const {
  // All tasks of a round leave inboxes free as its messages need them. Of forwards alone nothing
  // keeps the queue from running ahead of the tasks, but what they wait for has room.
  return !forwardsAlone || message <= awaited ||
         int64_t(freeInboxes.size()) > mostHandedOver - handedOver;
}
int Pipeline::takeInbox(const std::string &what) {
  std::lock_guard<std::mutex> hold(lock);
  return takeFreeInbox(what);
}
int Pipeline::takeFreeInbox(const std::string &what) {
  if (freeInboxes.empty())
    throw RunError("none of the " + std::to_string(self.numInboxes) + " inboxes of rank " +
                   std::to_string(pp.index) + " of pp is free for the " + what +
                   "; compile the model again");
  const int number = freeInboxes.back();
  freeInboxes.pop_back();
  waiting.change(1);
  return number;
}
void Pipeline::freeInbox(int number) {
  messages->freeInbox(number);
  {
    std::lock_guard<std::mutex> hold(lock);
    freeInboxes.push_back(number);
    waiting.change(-1);
  }
  changed.notify_all();
}
void Pipeline::countHandedOver(int by) {
  {
    std::lock_guard<std::mutex> hold(lock);
    handedOver += by;
  }
  changed.notify_all();
}

//===----------------------------------------------------------------------===//
// The queue's thread
//===----------------------------------------------------------------------===//

void Pipeline::putJobs() {
  startedMessages = 0;
  awaited = -1;
  if (messages->runsBehind()) {
    for (int64_t m = 0; m < own.numMessages; ++m)
      jobs[m] = m + 1;
    return;
  }
  for (int64_t m = 0; m < own.numMessages; ++m)
    jobs[m] = queue.put([this, m = int(m)] {
      try {
        doMessage(m);
      } catch (const std::exception &e) {
        {
          std::lock_guard<std::mutex> hold(lock);
          if (stopping) // who computes has the cause and tells it
            throw;
          if (!error)
            error = std::current_exception();
        }
        // Who computes may wait for ranks that wait for this thread.
        link->abort(e.what());
        ctx.comm->link().abort(e.what());
        throw;
      }
    });
}

void Pipeline::startMessages() {
  if (!messages->runsBehind())
    return;
  for (; startedMessages < own.numMessages; ++startedMessages) {
    const int m = int(startedMessages);
    if (own.messages[m].send ? !published[taskOf[m]] : !mayReceive(m))
      return;
    doMessage(m);
  }
}

void Pipeline::doMessage(int m) {
  const MessageInfo &message = own.messages[m];
  const int task = taskOf[m];
  const TaskInfo &t = own.tasks[task];
  const std::string what = name(message.cotangent, message.path, message.stage, message.microBatch);
  const int peer = pp.members[message.peer];
  if (message.send) {
    {
      std::unique_lock<std::mutex> hold(lock);
      changed.wait(hold, [&] { return published[task] || stopping; });
      if (stopping)
        return;
    }
    const double begin = Trace::now();
    messages->send(m, what, peer, piecesIn(slotOf(t), outputsOf(t)), task);
    if (trace)
      trace->add(Trace::messages, "send " + what, begin, Trace::now());
    return;
  }
  if (bytesOf(inputsOf(t)) == 0)
    return;
  int number;
  {
    std::unique_lock<std::mutex> hold(lock);
    changed.wait(hold, [&] { return mayReceive(m) || stopping; });
    if (stopping)
      return;
    number = takeFreeInbox(what);
  }
  const double begin = Trace::now();
  messages->receive(m, what, peer, piecesFrom(inbox(number), inputsOf(t)), number);
  if (trace)
    trace->add(Trace::messages, "receive " + what, begin, Trace::now());
  inboxOf[task] = number;
}

//===----------------------------------------------------------------------===//
// The thread that computes
//===----------------------------------------------------------------------===//

void Pipeline::wait(int64_t job, const char *what) {
  if (job == 0)
    return;
  if (messages->runsBehind()) {
    awaited = job - 1;
    startMessages();
    if (job > startedMessages)
      contradiction("a task of rank " + std::to_string(pp.index) + " of pp waits for message " +
                    std::to_string(job - 1) + " of its queue, which waits for the task");
    return messages->followMessage(int(job - 1));
  }
  const double begin = Trace::now();
  {
    std::lock_guard<std::mutex> hold(lock);
    awaited = job - jobs.front();
  }
  changed.notify_all();
  queue.wait(job);
  const double end = Trace::now();
  waitedSeconds += end - begin;
  if (trace)
    trace->add(Trace::waits, what, begin, end);
}

void Pipeline::traceAction(int first, int end, int64_t round, double begin) {
  static const char *const letters[] = {"F", "B", "b", "W"};
  std::string label, list;
  for (int i = first; i < end; ++i) {
    const TaskInfo &t = own.tasks[i];
    const std::string kind = letters[int(t.kind)], stage = std::to_string(t.stage),
                      number = std::to_string(t.microBatch);
    label += (i > first ? " + " : "") + kind + " " + number + " stage " + stage +
             (info.numPaths > 1 ? " path " + std::to_string(t.path) : "");
    list += std::string(i > first ? ", " : "") + "{\"kind\": \"" + kind +
            "\", \"path\": " + std::to_string(t.path) + ", \"stage\": " + stage +
            ", \"micro_batch\": " + number + "}";
  }
  trace->add(Trace::tasks, label, begin, Trace::now(),
             "{\"step\": " + std::to_string(trace->currentStep()) +
                 ", \"round\": " + std::to_string(round) + ", \"tasks\": [" + list + "]}");
}

void Pipeline::begin(int i, TaskState &state, int64_t round, const SetInputs &setInputs) {
  const TaskInfo &t = own.tasks[i];
  const Surroundings &a = around[i];
  char *slot = slotOf(t);
  if (t.kind == TaskKind::forward)
    for (Count *count : {&inFlight, &inStage[t.stage]})
      count->change(1);
  startMessages();
  // What lies in the slot has left, and the inputs have come.
  if (t.kind == TaskKind::forward)
    wait(leaving[t.stage][t.slot], "for a message to leave");
  if (a.message >= 0)
    wait(jobs[a.message], "for a message to come");
  if (const Kept inputs = inputsOf(t); bytesOf(inputs) > 0) {
    messages->copy(piecesFrom(inbox(inboxOf[i]), inputs), piecesIn(slot, inputs));
    freeInbox(inboxOf[i]);
    if (a.message < 0)
      countHandedOver(-1);
  }
  state.kept = slot;
  state.own = info.stages[t.stage].own;
  state.names = info.stages[t.stage].names;
  state.firstRouter = info.stages[t.stage].firstRouter;
  state.microBatch = round * info.rounds[chosen].total + firstOf[t.path] + t.microBatch;
  state.firstMicroBatch = firstOf[t.path];
  state.part = {};
  state.published = [this, i] { publish(i); };
  setInputs(state);
}

void Pipeline::publish(int i) {
  const TaskInfo &t = own.tasks[i];
  for (int m : around[i].sends)
    leaving[t.stage][t.slot] = std::max(leaving[t.stage][t.slot], jobs[m]);
  messages->endTask(i);
  {
    std::lock_guard<std::mutex> hold(lock);
    published[i] = true;
  }
  changed.notify_all();
  startMessages();
}

void Pipeline::end(int i) {
  const TaskInfo &t = own.tasks[i];
  const Surroundings &a = around[i];
  char *slot = slotOf(t);
  if (a.consumer >= 0) {
    const bool cotangent = t.kind != TaskKind::forward;
    const int number = takeInbox(name(cotangent, t.path, t.stage, t.microBatch));
    const Kept outputs = outputsOf(t);
    messages->copy(piecesIn(slot, outputs), piecesFrom(inbox(number), outputs));
    inboxOf[a.consumer] = number;
    countHandedOver(1);
  }
  if (!published[i])
    publish(i);
  if (t.kind == TaskKind::backward || t.kind == TaskKind::backwardWeight || forwardsAlone)
    for (Count *count : {&inFlight, &inStage[t.stage]})
      count->change(-1);
}

int Pipeline::runAction(int first, int64_t round, const SetInputs &setInputs) {
  const TaskInfo &t = own.tasks[first];
  const int next = first + (t.pair ? 2 : 1);
  begin(first, ctx, round, setInputs);
  if (t.pair)
    begin(first + 1, ctx.second, round, setInputs);
  const double started = Trace::now();
  if (t.pair) {
    t.pair(ctx);
  } else {
    info.stages[t.stage].functions[int(t.kind)](ctx);
  }
  for (TaskState *state : {static_cast<TaskState *>(&ctx), &ctx.second}) {
    state->kept = nullptr;
    state->own = nullptr;
    state->names = nullptr;
  }
  if (trace) {
    trace->endNode();
    traceAction(first, next, round, started);
  }
  for (int i = first; i < next; ++i)
    end(i);
  return next;
}

void Pipeline::runRound(int64_t round, const SetInputs &setInputs) {
  {
    std::lock_guard<std::mutex> hold(lock);
    published.assign(own.numTasks, false);
  }
  for (auto &slots : leaving)
    std::fill(slots.begin(), slots.end(), 0);
  putJobs();
  for (int i = 0; i < own.numTasks;)
    i = runAction(i, round, setInputs);
  if (own.numMessages > 0)
    wait(jobs.back(), "for the last message");
}

void Pipeline::restartCounts() {
  inFlight.restart();
  for (Count &count : inStage)
    count.restart();
  std::lock_guard<std::mutex> hold(lock);
  waiting.restart();
}

void Pipeline::runRounds(int64_t which, bool forwardTasks, int64_t rounds,
                         const SetInputs &setInputs) {
  restartCounts();
  if (which != chosen ||
      forwardTasks != forwardsAlone) { // all messages of the last step have moved
    chooseRound(which, forwardTasks);
    // Of two paths: the loss of a micro-batch may have been this rank's, and now be another's.
    const std::vector<double> none(ctx.losses.size() / sizeof(double));
    upload(ctx, ctx.losses.data(), none.data(), ctx.losses.size());
  }
  const auto run = [&](const SetInputs &set) {
    if (ctx.program->prepare)
      ctx.program->prepare(ctx);
    ctx.last = false; // sums of gradients begin when all copies are added up
    ctx.part = {};
    for (int64_t round = 0; round < rounds; ++round)
      runRound(round, set);
  };
  // A trace tells of tasks as they are started.
  if (forwardTasks || trace || !messages->runsBehind() || !tasksAreAlone(*ctx.program) ||
      !runWholeRounds(ctx, graphNodes, {which, [this] { messages->beginCapture(); }, run},
                      setInputs))
    return run(setInputs);
  messages->check();
}

void Pipeline::runStep(int64_t which, int64_t rounds, const SetInputs &setInputs) {
  runRounds(which, false, rounds, setInputs);
  sumCopies(ctx);
  if (ctx.comm)
    reduceStep(ctx);
  else
    sumLosses(ctx);
  endStep(ctx);
}

void Pipeline::runForward(int64_t which, int64_t rounds, const SetInputs &setInputs) {
  runRounds(which, true, rounds, setInputs);
  sumLosses(ctx);
}

//===----------------------------------------------------------------------===//
// Ends
//===----------------------------------------------------------------------===//

void Pipeline::abandon(const std::string &why) noexcept {
  {
    std::lock_guard<std::mutex> hold(lock);
    stopping = true;
  }
  changed.notify_all();
  if (link)
    link->abort(why);
  queue.stop();
}

std::exception_ptr Pipeline::failure() {
  std::lock_guard<std::mutex> hold(lock);
  return error;
}

} // namespace moire::rt
