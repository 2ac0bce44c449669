import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AnswerRoom } from '../../src/broker/answer-room.ts'

test('AnswerRoom, more is asked for than there is, lets everybody in in turn', async () => {
  const room = new AnswerRoom(100)
  const entered: number[] = []
  const enter = (size: number): void => {
    const waiting = room.enter(size)
    if (waiting === null) entered.push(size)
    else void waiting.then(() => entered.push(size))
  }
  for (const size of [60, 40, 50, 1, 1000, 2]) enter(size)
  // 1 would fit when 60 goes, but not before 50, which came first.
  assert.deepEqual(entered, [60, 40])
  assert.equal(room.isShort, true)
  room.leave(40)
  await Promise.resolve()
  assert.deepEqual(entered, [60, 40])
  room.leave(60)
  await Promise.resolve()
  assert.deepEqual(entered, [60, 40, 50, 1])
  room.leave(50)
  room.leave(1)
  await Promise.resolve()
  assert.deepEqual(entered, [60, 40, 50, 1, 1000]) // Alone, though it is too large.
  room.leave(1000)
  await Promise.resolve()
  assert.deepEqual(entered, [60, 40, 50, 1, 1000, 2])
  room.leave(2)
  assert.deepEqual([room.used, room.isShort], [0, false])
})
