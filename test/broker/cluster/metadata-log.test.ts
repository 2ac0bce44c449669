/** The quorum's log where the shard has no room for it, no memory, or fails. */
import assert from 'node:assert/strict'
import { describe, mock, test } from 'node:test'
import { MetadataLog } from '../../../src/broker/cluster/metadata-log.ts'
import type { BrokerError } from '../../../src/errors/broker-error.ts'
import { ErrorCode } from '../../../src/errors/error-code.ts'
import type { Entry } from '../../../src/raft/entry.ts'
import { Arena } from '../../../src/ring/arena.ts'
import { allocateArena } from '../../../src/ring/arena-layout.ts'
import type { ControlReply, ControlRequest } from '../../../src/shard/control.ts'
import type { ShardProxy } from '../../../src/shard/shard-proxy.ts'

type Follow = Parameters<ShardProxy['follow']>[0]
type Sink = Parameters<ShardProxy['follow']>[1]

/** A shard that has what it is sent, as long as there is room, and answers when it is told to. */
class FakeShard {
  endOffset = 0
  hasRoom = true
  hasFailed = false
  readonly sent: string[] = []
  readonly #answers: (() => void)[] = []
  readonly #arena: Arena

  constructor(arena: Arena) {
    this.#arena = arena
  }

  follow({ offset }: Follow, sink: Sink): void {
    const first = this.#arena.bytes[offset] as number
    this.sent.push(`append ${first}`)
    const errorCode = this.#append(first)
    this.#answers.push(() =>
      sink.onFollowed({ errorCode, logEndOffset: this.endOffset } as never, 0),
    )
  }

  #append(baseOffset: number): ErrorCode {
    if (this.hasFailed || !this.hasRoom) return ErrorCode.KAFKA_STORAGE_ERROR
    if (baseOffset !== this.endOffset) return ErrorCode.INVALID_RECORD
    this.endOffset++
    return ErrorCode.NONE
  }

  control(request: ControlRequest): Promise<ControlReply> {
    if (request.kind === 'replica-states') {
      const errorCode = this.hasFailed ? ErrorCode.KAFKA_STORAGE_ERROR : ErrorCode.NONE
      return Promise.resolve({ kind: 'replicas', states: [{ errorCode }] } as never)
    }
    if (request.kind === 'delete-records') {
      this.sent.push(`drop ${request.beforeOffset}`)
      const errorCode = ErrorCode.KAFKA_STORAGE_ERROR
      return new Promise((resolve) => {
        this.#answers.push(() => resolve({ kind: 'failed', errorCode, message: 'no inode' }))
      })
    }
    assert(request.kind === 'truncate-to')
    this.sent.push(`truncate ${request.offset}`)
    return new Promise((resolve) => {
      this.#answers.push(() => {
        this.endOffset = Math.min(this.endOffset, request.offset)
        resolve({ kind: 'ok' })
      })
    })
  }

  flush(): void {}

  async answer(): Promise<void> {
    for (const answer of this.#answers.splice(0)) answer()
    await settled()
  }
}

async function settled(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve()
}

/** One record, whose bytes say where it stands. */
function entry(baseOffset: number): Entry {
  const bytes = new Uint8Array(64).fill(baseOffset)
  return { baseOffset, endOffset: baseOffset + 1, epoch: 1, bytes, voters: null } as Entry
}

function opened(arenaBytes = 64 * 1024) {
  const arena = new Arena(allocateArena(arenaBytes))
  const shard = new FakeShard(arena)
  const log = new MetadataLog({ shard: shard as unknown as ShardProxy, arena })
  const done: string[] = []
  const note = (name: string, promise: Promise<void>): void => {
    promise.then(
      () => done.push(name),
      (error: unknown) => done.push(`${name}: ${(error as BrokerError).code}`),
    )
  }
  return { arena, shard, log, done, note }
}

describe('the metadata log', () => {
  test('on a full disk, waits for room, and then has everything once and in order', async (t) => {
    mock.timers.enable({ apis: ['setTimeout'] })
    t.after(() => mock.timers.reset())
    const { arena, shard, log, done, note } = opened()
    note('0', log.append([entry(0)]))
    shard.hasRoom = false
    for (const i of [1, 2]) note(`${i}`, log.append([entry(i)]))
    note('cut', log.truncate(2))
    note('2 anew', log.append([entry(2)]))
    await shard.answer()
    assert.deepEqual(done, ['0'])
    mock.timers.tick(200)
    await settled()
    await shard.answer()
    assert.deepEqual(done, ['0'], 'there is no room yet')
    shard.hasRoom = true
    mock.timers.tick(200)
    await settled()
    for (let i = 0; i < 5; i++) await shard.answer()
    assert.deepEqual(done, ['0', '1', '2', 'cut', '2 anew'])
    const [, , , ...again] = shard.sent
    // One at a time, until one is taken.
    const taken = ['append 1', 'append 2', 'truncate 2', 'append 2']
    assert.deepEqual(again, ['append 1', ...taken])
    assert.equal(shard.endOffset, 3)
    assert.equal(arena.bytesInUse, 0)
  })

  test('goes on without a cut that is refused', async () => {
    const { shard, log, done, note } = opened()
    note('0', log.append([entry(0)]))
    note('drop', log.dropBefore(1))
    note('1', log.append([entry(1)]))
    for (let i = 0; i < 3; i++) await shard.answer()
    assert.deepEqual(done, ['0', `drop: ${ErrorCode.KAFKA_STORAGE_ERROR}`, '1'])
    assert.deepEqual(shard.sent, ['append 0', 'drop 1', 'append 1'])
  })

  test('on a disk that has failed, is told so, and goes no further', async (t) => {
    mock.timers.enable({ apis: ['setTimeout'] })
    t.after(() => mock.timers.reset())
    const { shard, log, done, note } = opened()
    shard.hasFailed = true
    note('0', log.append([entry(0)]))
    await shard.answer()
    mock.timers.tick(200)
    await settled()
    assert.deepEqual(done, [`0: ${ErrorCode.KAFKA_STORAGE_ERROR}`])
  })

  test('a refusal for any other reason is not repeated', async (t) => {
    mock.timers.enable({ apis: ['setTimeout'] })
    t.after(() => mock.timers.reset())
    const { shard, log, done, note } = opened()
    note('7', log.append([entry(7)]))
    await shard.answer()
    mock.timers.tick(200)
    await settled()
    assert.deepEqual(done, [`7: ${ErrorCode.INVALID_RECORD}`])
  })
})
