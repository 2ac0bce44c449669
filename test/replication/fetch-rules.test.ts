import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Random } from '../../src/base/random.ts'
import { checkFetch, type EpochEnd, truncationOffset } from '../../src/replication/fetch-rules.ts'
import { withSeed } from '../support/seed.ts'

/** A log as the epochs of its records. */
class Log {
  epochs: number[]

  constructor(epochs: number[]) {
    this.epochs = epochs
  }

  get latest(): number {
    return this.epochs.at(-1) ?? -1
  }

  get logEndOffset(): number {
    return this.epochs.length
  }

  endOffsetFor(epoch: number, logEndOffset: number): EpochEnd {
    if (epoch < 0 || epoch > this.latest) return { epoch: -1, endOffset: -1 }
    const next = this.epochs.findIndex((one) => one > epoch)
    if (next < 0) return { epoch, endOffset: logEndOffset }
    return { epoch: this.epochs[next - 1] ?? epoch, endOffset: next }
  }
}

/** Fetches until the follower's log is taken for a prefix; how often it was cut. */
function reconcile(leader: Log, follower: Log, leaderEpoch: number): number {
  for (let cuts = 0; ; cuts++) {
    assert(cuts < 50, 'it comes to an end')
    const check = checkFetch(
      { leaderEpoch, epochs: leader, logStartOffset: 0, logEndOffset: leader.logEndOffset },
      {
        currentLeaderEpoch: leaderEpoch,
        lastFetchedEpoch: follower.latest,
        fetchOffset: follower.logEndOffset,
      },
    )
    if (check.kind === 'ok') return cuts
    assert.equal(check.kind, 'diverging')
    const { end } = check as { end: EpochEnd }
    const offset = truncationOffset({ epochs: follower, logEndOffset: follower.logEndOffset }, end)
    assert(offset < follower.logEndOffset, 'each answer makes the follower shorter')
    follower.epochs.length = offset
  }
}

describe('a follower that fetches', () => {
  test('after a leader that lost its tail, is cut where their logs part', () => {
    const follower = new Log([0, 0, 0, 0])
    assert.equal(reconcile(new Log([0, 0, 1]), follower, 1), 1)
    assert.deepEqual(follower.epochs, [0, 0])
  })

  test('with epochs that the leader missed, finds them one after another (KIP-279)', () => {
    const follower = new Log([0, 0, 1, 1, 3, 3])
    assert(reconcile(new Log([0, 0, 2, 2, 4]), follower, 4) >= 1)
    assert.deepEqual(follower.epochs, [0, 0])
  })

  test('with an epoch above all that the leader has records of, is cut to the leader’s end', () => {
    const follower = new Log([0, 0, 0, 2])
    reconcile(new Log([0, 0]), follower, 3)
    assert.deepEqual(follower.epochs, [0, 0])
  })

  test('of an empty leader, loses all', () => {
    const follower = new Log([0, 1])
    reconcile(new Log([]), follower, 2)
    assert.deepEqual(follower.epochs, [])
  })

  test('ends with a prefix of the leader’s log, whatever both logs were', () =>
    withSeed('replication/fetch-rules', (random) => {
      for (let i = 0; i < 2000; i++) {
        const common = Array.from({ length: random.below(5) }, () => 0)
        const leader = new Log(grown(common, 1, random))
        const follower = new Log(grown(common, 2, random))
        reconcile(leader, follower, 100)
        assert.deepEqual(follower.epochs, leader.epochs.slice(0, follower.logEndOffset))
        assert(follower.logEndOffset >= Math.min(common.length, leader.logEndOffset))
      }
    }))
})

/** An epoch has one leader, so the epochs of what is not common are not common either. */
function grown(common: readonly number[], first: 1 | 2, random: Random): number[] {
  const epochs = [...common]
  let epoch: number = first
  for (let n = random.below(8); n > 0; n--) {
    epochs.push(epoch)
    if (random.chance(0.5)) epoch += 2 * random.between(1, 2)
  }
  return epochs
}

describe('checkFetch', () => {
  const epochs = new Log([0, 0, 2])
  const leader = { leaderEpoch: 2, epochs, logStartOffset: 1, logEndOffset: 3 }
  const cases = [
    ['an older leader epoch', { currentLeaderEpoch: 1 }, 'fenced'],
    ['a newer leader epoch', { currentLeaderEpoch: 3 }, 'unknown-epoch'],
    ['no leader epoch', { currentLeaderEpoch: -1 }, 'ok'],
    ['an offset before the start', { fetchOffset: 0, lastFetchedEpoch: -1 }, 'out-of-range'],
    ['an offset behind the end', { fetchOffset: 4, lastFetchedEpoch: -1 }, 'out-of-range'],
    ['a prefix', { fetchOffset: 2, lastFetchedEpoch: 0 }, 'ok'],
  ] as const
  for (const [name, change, kind] of cases) {
    test(`of ${name} says ${kind}`, () => {
      const fetch = { currentLeaderEpoch: 2, lastFetchedEpoch: 2, fetchOffset: 3, ...change }
      assert.equal(checkFetch(leader, fetch).kind, kind)
    })
  }
})
