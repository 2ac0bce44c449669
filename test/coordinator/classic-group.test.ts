/**
 * Classic groups under everything that can happen to them: members come, go, crash, pause and are
 * cut off, the coordinator restarts at any point. Thousands of short histories, by seed.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Random } from '../../src/base/random.ts'
import { GROUP, GroupClient, PARTITIONS, TOPIC } from './group-client.ts'
import { GroupWorld } from './group-world.ts'
import { runHistories } from './histories.ts'

const FILE = 'test/coordinator/classic-group'
const HISTORIES = 1500
const STEPS = 150

describe('a classic group, random histories', () => {
  test('nobody owns a partition twice, offsets never go back, all come to rest', async () => {
    const seen = { restarts: 0, generations: 0, acknowledged: 0 }
    await runHistories(FILE, {
      count: HISTORIES,
      make: (random) => new History(random),
      seen: (history) => {
        seen.restarts += history.world.restarts
        seen.generations += history.generation
        seen.acknowledged += history.world.log.length
      },
    })
    assert(seen.restarts > HISTORIES / 2, 'restarts are part of it')
    assert(seen.generations > HISTORIES * 2, 'so are rebalances')
    assert(seen.acknowledged > HISTORIES * 5, 'and commits')
  })
})

class History {
  readonly world: GroupWorld
  readonly #random: Random
  readonly #clients: GroupClient[]
  readonly #ghosts: GroupClient[] = []

  constructor(random: Random) {
    this.#random = random
    this.world = new GroupWorld(random.split())
    this.world.topics.set(TOPIC, PARTITIONS)
    const isCooperative = random.chance(0.3)
    this.#clients = Array.from({ length: random.between(1, 5) }, (_, i) => {
      const instanceId = random.chance(0.3) ? `static-${i}` : null
      const parts = { world: this.world, random: random.split(), instanceId, isCooperative }
      return new GroupClient(`c${i}`, parts)
    })
  }

  get generation(): number {
    const group = this.world.coordinator.groups.get(GROUP)
    return group?.type === 'classic' ? group.generationId : 0
  }

  run(): void {
    for (let i = 0; i < STEPS; i++) {
      this.#step()
      this.#check()
    }
    this.#comeToRest()
  }

  #step(): void {
    const random = this.#random
    const client = random.pick(this.#clients)
    const dice = random.fraction()
    if (dice < 0.45) client.act()
    else if (dice < 0.6) client.commit()
    else if (dice < 0.8) this.world.pass(random.pick([10, 100, 400, 400, 1000]))
    else if (dice < 0.84) client.isPaused = !client.isPaused
    else if (dice < 0.86) this.world.pass(random.between(2000, 8000))
    else if (dice < 0.88) client.leave()
    else if (dice < 0.9) this.#crash(client)
    else if (dice < 0.915) this.#restart()
    else this.world.commitSome()
    if (this.#ghosts.length > 0 && random.chance(0.3)) this.#haunt()
    if (random.chance(0.7)) this.world.commitSome()
  }

  /** The process of a static member that was replaced may live on. */
  #crash(client: GroupClient): void {
    const ghost = client.ghost()
    if (client.instanceId !== null && ghost.state === 'stable') this.#ghosts.push(ghost)
    client.crash()
  }

  #haunt(): void {
    const ghost = this.#random.pick(this.#ghosts)
    if (ghost.state !== 'stable') this.#ghosts.splice(this.#ghosts.indexOf(ghost), 1)
    else if (this.#random.chance(0.5)) ghost.act()
    else ghost.commit()
  }

  #restart(): void {
    this.world.restart()
    for (const client of this.#clients) client.disconnect()
  }

  #check(): void {
    const owners = new Map<number, string>()
    for (const { name, owned, violations } of this.#clients) {
      assert.deepEqual(violations, [])
      for (const partition of owned) {
        const other = owners.get(partition)
        assert(other === undefined, `partition ${partition} is owned by ${other} and ${name}`)
        owners.set(partition, name)
      }
    }
  }

  /** No faults any more: everybody is in, in one generation, and everything is owned. */
  #comeToRest(): void {
    for (const client of this.#clients) client.isPaused = false
    for (let i = 0; i < 200; i++) {
      for (const client of this.#clients) client.act()
      this.world.commit()
      this.world.pass(200)
      this.world.commit()
      this.#check()
    }
    const owned = this.#clients.flatMap((client) => client.owned).sort()
    assert.deepEqual(
      owned,
      Array.from({ length: PARTITIONS }, (_, i) => i),
      this.#clients.map((c) => `${c.name} ${c.state} ${c.memberId} ${c.generationId}`).join('; '),
    )
    for (const client of this.#clients) assert.equal(client.generationId, this.generation)
    assert.equal(this.world.coordinator.groups.get(GROUP)?.state, 'Stable')
  }
}
