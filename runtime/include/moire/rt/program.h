//===- program.h - What a generated program tells the runtime -------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Plain data that generated program.cpp fills in (aggregates with constant
// initializers, no code) and that trainerMain() consumes:
//
//     static const int64_t shape0[] = {96, 32};
//     static const Source sources0[] = {{"wte", "model.onnx", 812, 12288,
//                                        DType::f32, Transform::same, 0}};
//     static const ParameterInfo parameters[] = {
//         {"wte", "transformer.wte.weight", 2, shape0, true,
//          Init::normal, 0.02f, 0, 1, sources0}, …};
//     int main(int argc, char **argv) { return trainerMain(argc, argv, program); }
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_PROGRAM_H
#define MOIRE_RT_PROGRAM_H

#include <cstdint>
#include <memory>

namespace moire::rt {

struct Context;
class DeviceLink;
struct CopyInfo;     // pipeline.h
struct PipelineInfo; // pipeline.h

/// Changes whenever a struct of this header or the meaning of a field does.
inline constexpr uint32_t kAbiVersion = 11;

enum class DType : uint8_t { f32, f16, bf16, f64, i64, i32, i1 };

/// How one stored tensor gives the logical parameter of shape [d0, …, dn].
enum class Transform : uint8_t {
  same,               ///< stored as the parameter is
  transposeLast2,     ///< stored [d0, …, dn, dn-1]
  reshape,            ///< same elements in order, another shape
  slice,              ///< stored tensor is parameter[index] : [d1, …, dn]
  sliceTranspose,     ///< stored tensor is parameter[index]ᵀ : [d1, …, dn, dn-1]
  interleaveHalvesDim1, ///< stored row 2i is parameter[:, i], row 2i+1 is
                        ///< parameter[:, d1/2 + i]
};

/// One initializer that a parameter is read from. Of a parameter that the file holds several
/// times over (a broken tie) each copy is one; where equal tensors were merged in the file,
/// several parameters have the same one.
struct Source {
  const char *initializer; ///< name in the ONNX file
  const char *file;        ///< relative to the model's folder, one of files; empty:
                           ///< the bytes are not at hand (--weights or --init)
  int64_t offset, bytes;   ///< little-endian payload inside that file
  DType dtype;             ///< f32, f16, bf16 or f64
  Transform transform;
  int64_t index; ///< k of slice and sliceTranspose, else 0
};

enum class Init : uint8_t { normal, ones, zeros };

/// An axis of the mesh, e.g. {"ep", 4}. A rank's number is that of its coordinates,
/// the last axis varying fastest: ((pp · DP + dp) · EP + ep) · TP + tp.
struct AxisInfo {
  const char *name; ///< pp, dp, ep or tp, in this order where present
  int64_t size;     ///< 1 or more
};

/// The ranks that differ in these axes only, ascending: who takes part in a
/// collective. Generated code names one by its index in Program::groups.
struct GroupInfo {
  int64_t numAxes;
  const int *axes; ///< indices into Program::axes, ascending
};

/// How one axis cuts one dimension of a parameter. Each block is cut by itself, so
/// that a fused weight (gate and up; q, k and v) stays one on every rank: of block b
/// the rank with coordinate c of n has [start_b + c · size_b / n, + size_b / n). Two
/// shards of one dimension: the second cuts what the first left, and has no blocks.
struct ShardInfo {
  int dim;
  int axis;             ///< index into Program::axes
  int64_t numBlocks;    ///< 0: the dimension is one block
  const int64_t *blocks; ///< [numBlocks] sizes in order; their sum is the global size
};

/// A logical (PyTorch) parameter or float buffer, row-major float32. On a mesh a
/// rank holds its shard of it.
struct ParameterInfo {
  const char *name;      ///< symbol in the IR, unique
  const char *torchName; ///< unique; name itself where the file does not tell
  int64_t rank;
  const int64_t *shape; ///< of the shard that a rank holds
  bool trainable; ///< false: frozen or a buffer; it has no gradient
  Init init;      ///< how a fresh value is made
  float initStd;  ///< of Init::normal
  int64_t offset; ///< in elements from the start of the params block; trainable
                  ///< ones come first, so that grads, m and v use the same
                  ///< offset in shorter blocks; a multiple of 16 elements
  int64_t numSources;
  const Source *sources;

  const int64_t *globalShape = nullptr; ///< null: shape, the parameter is not sharded
  int64_t numShards = 0;
  ShardInfo shards[2] = {};
  int reduceGroup = -1; ///< over which its gradient is summed; -1: none
  int shardGroup = -1;  ///< that holds its shards: the axes of shards; -1: not sharded

  /// Of a router's bias: it moves by this against the sign of what it accumulates, the
  /// excess of its experts' loads, which counts for no norm. 0: the optimizer moves it.
  float balanceRate = 0;

  /// What the members of reduceGroup divide, as pieces.h says: 1 the optimizer's state, 2
  /// also the gradient, which microStep sums, 3 also the value; 0 nothing.
  int zero = 0;
  int64_t gradOffset = -1;  ///< in grads; -1: offset
  int64_t stateOffset = -1; ///< in m and v; -1: offset

  int64_t index = -1; ///< in model order over all ranks of pp; -1: its place in the table
  /// With pipeline: its squares count in the norm and --dump-grads writes it from here;
  /// true at the first of its holders.
  bool counted = true;
  /// With pipeline: the gradients that are added up into gradOffset on each rank that holds it,
  /// the same list on all of them; 0: it has a gradient on one rank, there and once.
  int64_t numCopies = 0;
  const CopyInfo *copies = nullptr;

  int updateGroup = -1; ///< index into Program::updateGroups; -1: every step updates it
};

enum class Role : uint8_t {
  tokens,        ///< i64 [batch, seq], filled from token streams
  attentionMask, ///< [batch, seq], 1 where the data gives none
  positionIds,   ///< i64 [batch, seq], 0 … seq-1 where the data gives none
  tokenTypeIds,  ///< [batch, seq], 0 where the data gives none
  other,         ///< must come from the data
  labels,        ///< i64 (f32 for Loss::mse); targets, -100 does not count
  scale,         ///< f32 [], the runtime passes 1/N
};

/// One argument of micro_step, in order; Context::inputs has the same order.
struct InputInfo {
  const char *name; ///< name in the ONNX graph ("labels", "scale" for added ones)
  DType dtype;      ///< in memory: i64, f32, i1 (one byte), i32, f64
  int64_t rank;
  const int64_t *shape; ///< of one micro-batch; the first dimension is its batch
  Role role;
  int64_t graphIndex; ///< N of input_N.pb, -1: not a graph input
};

enum class OptimizerKind : uint8_t { sgd, adamw };

/// What the labels are, that is how N is counted and what data can give them.
enum class Loss : uint8_t {
  nextToken, ///< labels i64 [batch, seq], already shifted targets
  token,     ///< labels i64 [batch, seq], one per position, no shift
  classes,   ///< labels i64 [batch]
  mse,       ///< labels f32 of the output's shape; N counts elements
  output,    ///< a graph output is the loss; labels, if any, enter as in the file
};

/// What prepares labels for a folder of tensors. Token streams always give
/// windows of seq + 1 tokens.
enum class Labels : uint8_t {
  shifted, ///< target[t] = labels[t + 1], last = -100
  asIs,    ///< labels enter unchanged (class labels, or the graph shifts)
};

/// Which labels count toward N.
enum class Count : uint8_t {
  all,       ///< every label that is not -100
  skipFirst, ///< the same without position 0 of each row (the graph slices it)
  none,      ///< N = number of micro-batches in the step
};

/// Where a stage of a pipeline has what a function that several stages run calls one of its
/// parameters. -1: nowhere.
struct StageParameter {
  int64_t param, grad; ///< in elements of params and grads
  int64_t shadow;      ///< in bytes of Context::shadows
};

/// A file that sources point into, with the fingerprint of moire/rt/checksum.h;
/// the trainer refuses a file that changed.
struct FileInfo {
  const char *path; ///< relative to the model's folder
  int64_t bytes;
  uint64_t checksum;
};

/// A tensor of PyTorch's state_dict().
struct SavedName {
  const char *parameter; ///< ParameterInfo::name
  const char *name;      ///< PyTorch's: torchName, or another one of a tied parameter
};

/// Of an initializer that holds several parameters, which the exporter merged because they were
/// equal: whose it is where a node reads it.
struct MergedUse {
  const char *parameter; ///< ParameterInfo::name
  const char *node;      ///< op type
  int64_t input;         ///< of the node
};
struct MergedInfo {
  const char *initializer;
  int64_t numUses; ///< all there are in the file, in its order
  const MergedUse *uses;
};

/// A line of the memory plan printed at start, e.g. {"activations", bytes}.
struct MemoryLine {
  const char *what;
  int64_t bytes;
};

/// Constants that statements read.
struct TableInfo {
  const void *data;
  int64_t bytes;
  int64_t offset; ///< in Context::tables, a multiple of 64
};

/// Elements [begin, end) of the block of gradients. piece: 0, all members get the sum; else
/// each gets that of its own piece of so many (reducePieces in pieces.h), in all ranges of
/// a bucket or in none.
struct RangeInfo {
  int64_t begin, end;
  int64_t piece;
};

/// Gradients that are summed together over a group.
struct BucketInfo {
  int group;
  int64_t numRanges;
  const RangeInfo *ranges;
};

/// Once `after` steps are done, a rank has so many micro-batches in a round, and a step
/// --accumulate rounds.
struct RampInfo {
  int64_t microBatches, after;
  int64_t round; ///< index of PipelineInfo::rounds; 0 without a pipeline
};

/// What chooses experts for tokens, once in each micro-batch.
struct RouterInfo {
  const char *name; ///< of the parameter that scores the experts, else of its ONNX node
  int64_t experts;
  int64_t pairs;  ///< of token and expert in a rank's micro-batch, before a capacity drops some
  int64_t offset; ///< of its first expert in Context::loads, in elements
};

struct Program {
  uint32_t abi; ///< kAbiVersion
  const char *name;
  const char *modelPath; ///< of the .onnx file: absolute, or relative to the
                         ///< trainer's own folder
  int64_t numFiles;
  const FileInfo *files;
  bool init; ///< compiled with --init: start from fresh weights

  OptimizerKind optimizer;
  Loss loss;
  Labels labels;
  Count count;
  int64_t batch, seq;
  int64_t vocab; ///< width of the logits (0: unknown), bound of labels
  int64_t tokenVocab; ///< rows of the token embedding (0: unknown), bound of tokens

  int64_t arenaBytes; ///< exact, planned at compile time
  int64_t numPeak;
  const MemoryLine *peak;
  int64_t numTables;
  const TableInfo *tables;
  int64_t tableBytes;    ///< length of Context::tables
  int64_t paramElements; ///< length of the params block
  int64_t gradElements;  ///< length of grads; without zero the trainable prefix

  int64_t numParameters;
  const ParameterInfo *parameters; ///< in model order, gives the norm's order
  int64_t numInputs;
  const InputInfo *inputs;

  /// Forward and backward of one micro-batch: reads ctx.inputs and ctx.params,
  /// adds into ctx.grads (sets them when ctx.first()), gives its loss to loss().
  void (*microStep)(Context &);
  /// The beginning of it that gives the loss, see Context::trains. A pipeline runs the forwards of
  /// its stages instead.
  void (*forward)(Context &);
  /// Once a step, before its first micro-batch: fills ctx.shadows from ctx.params.
  /// Null: nothing to do.
  void (*prepare)(Context &);
  int64_t shadowBytes; ///< length of Context::shadows

  /// The leading component that all PyTorch names share, tied names among them,
  /// e.g. "m."; --dump-grads drops it. Null: found from the parameters' names.
  const char *namePrefix;

  /// What state_dict() has of the parameters: not buffers that PyTorch does not save, and a tied
  /// parameter twice. Null: all of them by torchName.
  int64_t numSaved = 0;
  const SavedName *saved = nullptr;
  /// Those whose readers are known.
  int64_t numMerged = 0;
  const MergedInfo *merged = nullptr;

  /// The mesh; no axes: one rank. Every rank runs this same program.
  int64_t numAxes = 0;
  const AxisInfo *axes = nullptr;
  int64_t numGroups = 0;
  const GroupInfo *groups = nullptr;
  /// How ranks that have a GPU each are connected; null: through their hosts.
  std::shared_ptr<DeviceLink> (*connect)(Context &) = nullptr;
  int64_t stateElements = -1; ///< length of m and v; -1: gradElements
  /// All sums of gradients at the end of a step, in their order; startReduce() of microStep
  /// begins one earlier, by its number.
  int64_t numBuckets = 0;
  const BucketInfo *buckets = nullptr;
  /// Of a mesh with an axis pp: its ranks run this instead of microStep, and what differs
  /// from rank to rank stands there.
  const PipelineInfo *pipeline = nullptr;
  /// By `after`, the first 0. None: all steps do the pipeline's one round, or rounds of one
  /// micro-batch without it.
  int64_t numRamp = 0;
  const RampInfo *ramp = nullptr;
  /// Of one micro-batch, its forward and backward on all ranks that share its work: products
  /// and attention, a multiply-add counted as two, of causal attention the half that is seen,
  /// of experts the pairs of token and expert. hardware: with what the backward computes a
  /// second time. 0: not known.
  int64_t modelFlops = 0, hardwareFlops = 0;
  int64_t numRouters = 0;
  const RouterInfo *routers = nullptr; ///< in model order; of a pipeline those of all stages

  /// Names of the parameters that are trained in some steps and rest in others, 64 at most. What a
  /// micro-step does for group i alone, it does where Context::updates has bit i.
  int64_t numUpdateGroups = 0;
  const char *const *updateGroups = nullptr;
  /// The model for sequences of several lengths, ascending by seq, this program among them:
  /// parameters lie alike in all of them. None: it has one length.
  int64_t numLengths = 0;
  const Program *const *lengths = nullptr;
};

/// What the programs of many ranks for GPUs name as `connect`, so that others need no
/// NCCL. Null where the runtime was built without it.
std::shared_ptr<DeviceLink> linkByNccl(Context &ctx);

/// Parses the command line, trains, returns the exit code: 0 done, 1 wrong
/// input or usage, 2 failed in the run, 3 stopped by a signal with a checkpoint. Errors go to
/// stderr as `error: …`.
int trainerMain(int argc, char **argv, const Program &program);

} // namespace moire::rt

#endif // MOIRE_RT_PROGRAM_H
