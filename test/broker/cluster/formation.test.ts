/** How a quorum begins. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Formation } from '../../../src/broker/cluster/formation.ts'
import type { PeerHello } from '../../../src/cluster/link.ts'
import type { SavedQuorum } from '../../../src/cluster/quorum-state-file.ts'
import { keyOf, settled } from '../../cluster/fixture.ts'

const CONTROLLERS = [1, 2, 3]

function helloOf(id: number, voters: readonly number[] = []): PeerHello {
  const { directoryId } = keyOf(id)
  return { directoryId, voters: voters.map(keyOf) } as unknown as PeerHello
}

async function doneOf({ done }: Formation): Promise<SavedQuorum | null> {
  let state: SavedQuorum | null = null
  void done.then((is) => {
    state = is
  })
  await settled()
  return state
}

const FIRST = { epoch: 0, votedFor: null, firstVoters: CONTROLLERS.map(keyOf) }

describe('Formation', () => {
  test('ends with the same voters on every controller, in whatever order they are heard', async () => {
    for (const self of CONTROLLERS) {
      const formation = new Formation(keyOf(self), CONTROLLERS)
      const others = CONTROLLERS.filter((id) => id !== self)
      assert.deepEqual(formation.missing, others)
      for (const id of self === 2 ? others.reverse() : others) {
        assert.equal(await doneOf(formation), null)
        formation.onHello(id, helloOf(id))
      }
      assert.deepEqual(await doneOf(formation), FIRST)
    }
  })

  test('of one controller is done at once', async () => {
    const { firstVoters } = await new Formation(keyOf(1), [1]).done
    assert.deepEqual(firstVoters, [keyOf(1)])
  })

  test('takes the voters of who knows them, without all that are configured', async () => {
    const formation = new Formation(keyOf(3), CONTROLLERS)
    formation.onHello(1, helloOf(1, [1, 2, 7]))
    const { firstVoters } = await formation.done
    assert.deepEqual(firstVoters, [1, 2, 7].map(keyOf))
  })

  test('of who is no controller waits for voters to be known', async () => {
    const formation = new Formation(keyOf(4), CONTROLLERS)
    for (const id of CONTROLLERS) formation.onHello(id, helloOf(id))
    assert.equal(await doneOf(formation), null)
    formation.onHello(2, helloOf(2, CONTROLLERS))
    assert.deepEqual(await doneOf(formation), FIRST)
  })

  test('counts nobody that is no controller', async () => {
    const formation = new Formation(keyOf(1), [1, 2])
    formation.onHello(9, helloOf(9))
    assert.equal(await doneOf(formation), null)
    assert.deepEqual(formation.missing, [2])
  })

  test('takes the disk that a controller named last', async () => {
    const formation = new Formation(keyOf(1), CONTROLLERS)
    formation.onHello(2, helloOf(8))
    formation.onHello(2, helloOf(2))
    formation.onHello(3, helloOf(3))
    assert.deepEqual(await doneOf(formation), FIRST)
  })

  test('fails with what a controller says, and not once it is done', async () => {
    const formation = new Formation(keyOf(1), CONTROLLERS)
    formation.fail(new Error('another secret'))
    await assert.rejects(formation.done, /another secret/)
    const done = new Formation(keyOf(1), [1])
    done.fail(new Error('too late'))
    await done.done
  })
})
