/** Which connection goes where, without sockets: links are the URLs that they go to. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Leaders } from '../../src/client/leaders.ts'
import type { ServerMessages } from '../../src/wire/websocket/messages.ts'
import { VirtualTimers } from '../support/virtual-timers.ts'

type Place = [partition: number, leader: number, epoch: number]

function start({ follows = true } = {}) {
  const timers = new VirtualTimers()
  const state = {
    main: 1,
    open: new Set(['main', 'ws://1', 'ws://2', 'ws://3']),
    closed: [] as string[],
    asked: 0,
    changes: 0,
    answer: metadata([[0, 1, 1]]),
  }
  const leaders = new Leaders<string>({
    main: 'main',
    follows,
    mainNode: () => state.main,
    open: (url) => url,
    close: (link) => state.closed.push(link),
    isOpen: (link) => state.open.has(link),
    ask: async () => {
      state.asked++
      return state.answer
    },
    timers,
    random: () => 0.5,
    retry: { minMs: 10, maxMs: 100 },
  })
  leaders.onChanged(() => state.changes++)
  return { leaders, state, timers }
}

function metadata(places: Place[], nodes = [1, 2, 3]): ServerMessages['metadata'] {
  return {
    type: 'metadata',
    id: 1,
    cluster: 'c',
    controller: 1,
    nodes: [],
    urls: nodes.map((node): [number, string] => [node, `ws://${node}`]),
    topics: [
      {
        name: 't',
        topicId: '',
        errorCode: 0,
        internal: false,
        partitions: places.map(([partition, leader, epoch]) => [0, partition, leader, epoch]),
      },
    ],
  }
}

test('Leaders.linkFor, of what is not known or led at the main end, is the main link', () => {
  const { leaders } = start()
  assert.equal(leaders.linkFor('t', 0), 'main')
  leaders.learn(metadata([[0, 1, 5]]))
  assert.equal(leaders.linkFor('t', 0), 'main')
  assert.equal(leaders.linkFor('t', 7), 'main')
})

test('Leaders.learn, with another leader, leads there; an older epoch changes nothing', () => {
  const { leaders, state } = start()
  leaders.learn(metadata([[0, 2, 5]]))
  assert.equal(leaders.linkFor('t', 0), 'ws://2')
  assert.equal(state.changes, 1)
  leaders.learn(metadata([[0, 3, 4]]))
  assert.equal(leaders.linkFor('t', 0), 'ws://2')
  leaders.learn(metadata([[0, -1, 6]]))
  assert.equal(leaders.linkFor('t', 0), 'ws://2', 'nobody leads: where it was is as good as any')
})

test('Leaders.learn, of a broker that is alone, knows no other link', () => {
  const { leaders, state } = start()
  leaders.learn(metadata([[0, 2, 5]], []))
  assert.equal(leaders.linkFor('t', 0), 'main')
  leaders.lost('main')
  assert.deepEqual([state.changes, state.asked], [0, 0])
})

test('Leaders.refused, with a hint, follows it without a question', () => {
  const { leaders, state } = start()
  leaders.refused('t', 0, [2, 3, 'ws://2'])
  assert.equal(leaders.linkFor('t', 0), 'ws://2')
  assert.deepEqual([state.changes, state.asked], [1, 0])
})

test('Leaders.refused, without a hint, asks until somebody answers otherwise', async () => {
  const { leaders, state, timers } = start()
  leaders.learn(metadata([[0, 2, 1]]))
  state.open.delete('ws://2')
  state.answer = metadata([[0, 2, 1]])
  leaders.refused('t', 0, null)
  await timers.pass(300)
  assert.ok(state.asked > 2, 'its leader is not there, and nobody else leads')
  state.answer = metadata([[0, 3, 2]])
  await timers.pass(300)
  assert.equal(leaders.linkFor('t', 0), 'ws://3')
  const { asked } = state
  await timers.pass(1000)
  assert.equal(state.asked, asked, 'nothing is in doubt any more')
})

test('Leaders.lost, of one link, asks for what is led there', async () => {
  const { leaders, state, timers } = start()
  leaders.learn(
    metadata([
      [0, 2, 1],
      [1, 3, 1],
    ]),
  )
  assert.equal(leaders.linkFor('t', 0), 'ws://2')
  state.answer = metadata([
    [0, 3, 2],
    [1, 3, 1],
  ])
  leaders.lost('ws://2')
  await timers.pass(100)
  assert.equal(state.asked, 1)
  assert.equal(leaders.linkFor('t', 0), 'ws://3')
})

test('Leaders, of a broker that has moved, close the old link', () => {
  const { leaders, state } = start()
  leaders.learn(metadata([[0, 2, 1]]))
  assert.equal(leaders.linkFor('t', 0), 'ws://2')
  leaders.refused('t', 0, [2, 1, 'ws://2b'])
  assert.equal(leaders.linkFor('t', 0), 'ws://2b')
  assert.deepEqual(state.closed, ['ws://2'])
})

test('Leaders, of a client with one address, know the main link only', () => {
  const { leaders, state } = start({ follows: false })
  leaders.learn(metadata([[0, 2, 1]]))
  leaders.refused('t', 0, [3, 2, 'ws://3'])
  assert.equal(leaders.linkFor('t', 0), 'main')
  assert.equal(state.changes, 0)
})

test('Leaders.mainOpened, at another node, is a change', () => {
  const { leaders, state } = start()
  leaders.mainOpened()
  leaders.learn(metadata([[0, 1, 1]]))
  assert.equal(leaders.linkFor('t', 0), 'main')
  state.main = 2
  leaders.mainOpened()
  assert.equal(leaders.linkFor('t', 0), 'ws://1')
  assert.equal(state.changes, 2)
})
