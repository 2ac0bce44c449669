/**
 * Producer state against a dumb replay of the visible log: epoch, last sequence and last offset of
 * each producer, and as many remembered batches as a retry may need.
 */
import type { PartitionLog } from '../../src/storage/log.ts'
import {
  addSequence,
  BATCH_COUNT_WORD,
  BATCH_LAST_OFFSET,
  BATCH_LAST_SEQUENCE,
  BATCHES_KEPT,
  batchWord,
  PRODUCER_EPOCH_WORD,
} from '../../src/storage/producer-state.ts'
import type { StoredBatch } from './batches.ts'
import { require_ } from './violation.ts'

export function checkProducerState(
  log: PartitionLog,
  batches: readonly StoredBatch[],
  name: string,
): void {
  const expected = new Map<number, StoredBatch[]>()
  for (const batch of batches) {
    const { producerId, producerEpoch } = batch.sent
    if (producerId < 0) continue
    const run = expected.get(producerId) ?? []
    if (run.at(-1)?.sent.producerEpoch !== producerEpoch) run.length = 0
    run.push(batch)
    if (run.length > BATCHES_KEPT) run.shift()
    expected.set(producerId, run)
  }
  for (const [producerId, run] of expected) {
    const state = log.producers.get(producerId)
    const where = `${name}, producer ${producerId}`
    const invariant = 'producer state equals a replay'
    require_(state !== undefined, invariant, () => `${where}: unknown`)
    if (state === undefined) continue
    const count = state[BATCH_COUNT_WORD] as number
    const epoch = state[PRODUCER_EPOCH_WORD] as number
    require_(count >= run.length, invariant, () => `${where}: ${count} of ${run.length} batches`)
    require_(epoch === run[0]?.sent.producerEpoch, invariant, () => `${where}: epoch ${epoch}`)
    for (const [i, batch] of run.entries()) {
      const word = batchWord(count - run.length + i)
      const sequence = addSequence(batch.sent.baseSequence, batch.sent.recordsCount - 1)
      require_(
        state[word + BATCH_LAST_SEQUENCE] === sequence &&
          state[word + BATCH_LAST_OFFSET] === batch.lastOffset,
        invariant,
        () => `${where}: batch at ${batch.baseOffset}: ${state[word + BATCH_LAST_SEQUENCE]}`,
      )
    }
  }
}
