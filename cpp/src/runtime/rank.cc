#include "runtime/rank.h"

#include "runtime/weight_upload.h"

namespace sluice {

Rank::Rank(const EnginePlan& plan, int index, Communicator* comm, const FaultPoints& faults,
           AllocationCounter* counter)
    : device_(plan.on_device() ? std::make_unique<CudaDevice>(plan.cuda->device) : nullptr),
      pool_(plan.exec.num_threads),
      exec_(plan.exec),
      weights_(plan.ranks[static_cast<size_t>(index)].slots, loader_bytes(plan.packing)),
      ropes_(plan.spec.ropes) {
  const RankPlan& own = plan.ranks[static_cast<size_t>(index)];
  exec_.pool = &pool_;
  if (device_) exec_.cuda = &device_->exec();
  faults.pass(FaultPoint::kAllocWeights);
  weights_.allocate(counter, plan.space());
  decoder_ = std::make_unique<Decoder>(own.shard, weights_);
  faults.pass(FaultPoint::kAllocKv);
  kv_ = std::make_unique<KvCache>(plan.spec, plan.options, *decoder_, counter, plan.space());
  faults.pass(FaultPoint::kAllocWorkspace);
  arena_ = Arena(plan.arena_bytes,
                 "step workspace (remedy: a lower max_step_tokens or max_step_outputs)", counter,
                 plan.space());
  LayerContext context{
      exec_, *own.gemm, arena_, times_, plan.options.compute_format, plan.options.numerics};
  context.comm = comm;
  if (device_) {
    device_runner_ = make_device_runner(plan, *device_, *decoder_, context, *kv_, faults, counter);
    return;
  }
  sequences_ = std::make_unique<SequenceState>(plan.rules.limits, plan.options.penalties, counter);
  runner_ = std::make_unique<StepRunner>(plan.rules.limits, *decoder_, context, *kv_, *sequences_,
                                         ropes_);
}

}  // namespace sluice
