#include "cuda/grouped_wgmma.h"
namespace moire::rt {
template <typename C>
bool tensorGroupedGemm(Context &, const GroupedGemm &, const Routing &, const bf16 *,
                       const bf16 *, C *, const float *) { return false; }
bool tensorGroupedWeightGrad(Context &, const GroupedGemm &, const Routing &, const bf16 *,
                             const bf16 *, float *) { return false; }
template bool tensorGroupedGemm(Context &, const GroupedGemm &, const Routing &, const bf16 *, const bf16 *, bf16 *, const float *);
template bool tensorGroupedGemm(Context &, const GroupedGemm &, const Routing &, const bf16 *, const bf16 *, float *, const float *);
}
