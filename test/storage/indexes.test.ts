import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { LeaderEpochs } from '../../src/storage/leader-epochs.ts'
import { OffsetIndex } from '../../src/storage/offset-index.ts'
import { TimeIndex } from '../../src/storage/time-index.ts'
import { SEED } from './support/fixture.ts'
import { MemoryFiles } from './support/memory-files.ts'

const ascending = fc
  .uniqueArray(fc.nat(5000), { maxLength: 80 })
  .map((all) => all.sort((a, b) => a - b))

describe('OffsetIndex', () => {
  test('finds what a search from the end finds, also after encoding and shortening', () => {
    fc.assert(
      fc.property(ascending, fc.nat(5100), fc.nat(80), (offsets, wanted, keep) => {
        const index = new OffsetIndex()
        for (const [i, offset] of offsets.entries()) index.append(offset, i * 61 + 1)
        const copy = OffsetIndex.decode(index.encode(), 1 << 20)!
        for (const one of [index, copy]) {
          assert.equal(
            one.find(wanted),
            offsets.findLastIndex((offset) => offset <= wanted),
          )
        }
        copy.shorten(Math.min(keep, copy.count))
        const left = offsets.slice(0, keep)
        assert.equal(
          copy.find(wanted),
          left.findLastIndex((offset) => offset <= wanted),
        )
      }),
      { seed: SEED },
    )
  })

  test('decode refuses odd lengths, disorder, and positions outside the segment', () => {
    const index = new OffsetIndex()
    index.append(5, 100)
    index.append(9, 200)
    const bytes = index.encode()
    assert(OffsetIndex.decode(bytes, 201) !== null)
    assert.equal(OffsetIndex.decode(bytes, 200), null)
    assert.equal(OffsetIndex.decode(bytes.slice(0, 15), 500), null)
    assert.equal(OffsetIndex.decode(new Uint8Array(16), 500), null)
  })
})

describe('TimeIndex', () => {
  test('finds the last entry below a timestamp, also after encoding', () => {
    fc.assert(
      fc.property(ascending, fc.nat(5100), (times, wanted) => {
        const index = new TimeIndex()
        for (const [i, time] of times.entries()) {
          index.maybeAppend(time, i)
          index.maybeAppend(time, i + 1) // Not newer: no entry.
        }
        assert.equal(index.count, times.length)
        for (const one of [index, TimeIndex.decode(index.encode(), 0)!]) {
          assert.equal(
            one.findBelow(wanted),
            times.findLastIndex((time) => time < wanted),
          )
        }
      }),
      { seed: SEED },
    )
  })
})

describe('LeaderEpochs', () => {
  test('the file is Kafka’s and says what the object says', () => {
    const files = new MemoryFiles()
    const epochs = new LeaderEpochs()
    epochs.assign(0, 0)
    epochs.assign(3, 1500)
    epochs.assign(3, 1600)
    epochs.write(files, '/')
    const text = new TextDecoder().decode(files.contentOf('//leader-epoch-checkpoint'))
    assert.equal(text, '0\n2\n0 0\n3 1500\n')
    const again = new LeaderEpochs()
    assert.equal(again.load(files, '/'), true)
    assert.deepEqual(again.entries(), epochs.entries())
  })

  test('an epoch without records leaves no trace; truncation and start move the ends', () => {
    const epochs = new LeaderEpochs()
    epochs.assign(1, 0)
    epochs.assign(2, 10)
    epochs.assign(3, 10)
    assert.deepEqual(epochs.entries(), [
      { epoch: 1, startOffset: 0 },
      { epoch: 3, startOffset: 10 },
    ])
    epochs.assign(5, 20)
    epochs.startAt(15)
    assert.deepEqual(epochs.entries(), [
      { epoch: 3, startOffset: 15 },
      { epoch: 5, startOffset: 20 },
    ])
    epochs.truncateTo(20)
    assert.equal(epochs.latest, 3)
  })
})
