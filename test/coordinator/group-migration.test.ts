/**
 * Groups that go over between the two protocols while they work: members of both come, go, crash
 * and pause, the coordinator restarts; at the end only one kind is left, and the group is of it.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Random } from '../../src/base/random.ts'
import { ConsumerClient } from './consumer-client.ts'
import { GROUP, GroupClient, PARTITIONS, TOPIC } from './group-client.ts'
import { GroupWorld } from './group-world.ts'
import { runHistories } from './histories.ts'

const FILE = 'test/coordinator/group-migration'
const HISTORIES = 1000
const STEPS = 200

describe('a group that migrates, random histories', () => {
  test('a member that learns after a restart what it must give up, has its time from then on', () => {
    new History(new Random(1448475457)).run()
  })

  test('nobody owns a partition twice, offsets never go back, it ends in either', async () => {
    const seen = { upgrades: 0, downgrades: 0 }
    await runHistories(FILE, {
      count: HISTORIES,
      make: (random) => new History(random),
      seen: (history) => {
        seen.upgrades += history.upgrades
        seen.downgrades += history.downgrades
      },
    })
    assert(seen.upgrades > HISTORIES, 'groups go over to the new protocol')
    assert(seen.downgrades > HISTORIES / 3, 'and back')
  })
})

class History {
  readonly world: GroupWorld
  readonly #random: Random
  readonly #classic: GroupClient[]
  readonly #consumers: ConsumerClient[]
  upgrades = 0
  downgrades = 0
  #type: 'classic' | 'consumer' | undefined

  constructor(random: Random) {
    this.#random = random
    this.world = new GroupWorld(random.split())
    const { world } = this
    world.topics.set(TOPIC, PARTITIONS)
    const instanceId = (i: number): string | null => (random.chance(0.3) ? `static-${i}` : null)
    const isCooperative = random.chance(0.5)
    this.#classic = Array.from({ length: random.between(1, 3) }, (_, i) => {
      const parts = { world, random: random.split(), instanceId: instanceId(i), isCooperative }
      return new GroupClient(`old${i}`, parts)
    })
    this.#consumers = Array.from({ length: random.between(1, 3) }, (_, i) => {
      return new ConsumerClient(`new${i}`, {
        group: GROUP,
        world,
        random: random.split(),
        instanceId: instanceId(10 + i),
        subscription: { names: [TOPIC], regex: '' },
      })
    })
  }

  run(): void {
    for (const client of this.#consumers) client.isPaused = true
    for (let i = 0; i < STEPS; i++) {
      this.#step()
      this.#check()
    }
    this.#comeToRest()
  }

  #step(): void {
    const random = this.#random
    const client = random.pick<GroupClient | ConsumerClient>([...this.#classic, ...this.#consumers])
    const dice = random.fraction()
    if (dice < 0.5) client.act()
    else if (dice < 0.62) client.commit()
    else if (dice < 0.83) this.world.pass(random.pick([10, 100, 400, 400, 1000]))
    else if (dice < 0.87) client.isPaused = !client.isPaused
    else if (dice < 0.88) this.world.pass(random.between(2000, 8000))
    else if (dice < 0.91) {
      client.leave()
      client.isPaused = true
    } else if (dice < 0.92) client.crash()
    else if (dice < 0.94) this.#restart()
    else this.world.commitSome()
    if (random.chance(0.7)) this.world.commitSome()
  }

  #restart(): void {
    this.world.restart()
    for (const client of [...this.#classic, ...this.#consumers]) client.disconnect()
  }

  #check(): void {
    const group = this.world.coordinator.groups.get(GROUP)
    if (group !== undefined && group.type !== this.#type) {
      if (group.type === 'consumer') this.upgrades++
      else if (this.#type === 'consumer' && !group.isEmpty) this.downgrades++
      this.#type = group.type
    }
    const owners = new Map<number, string>()
    const own = (name: string, partition: number): void => {
      const other = owners.get(partition)
      assert(other === undefined, `partition ${partition} is owned by ${other} and ${name}`)
      owners.set(partition, name)
    }
    for (const client of this.#classic) {
      assert.deepEqual(client.violations, [])
      for (const partition of client.owned) own(client.name, partition)
    }
    for (const client of this.#consumers) {
      assert.deepEqual(client.violations, [])
      for (const { partition } of client.owned) own(client.name, partition)
    }
  }

  /** No faults any more; clients of one kind go, or none do. */
  #comeToRest(): void {
    const stay = this.#random.pick(['classic', 'consumer', 'both'])
    for (const client of [...this.#classic, ...this.#consumers]) client.isPaused = false
    this.#pass(80)
    if (stay === 'consumer') for (const client of this.#classic.splice(0)) client.leave()
    if (stay === 'classic') for (const client of this.#consumers.splice(0)) client.leave(true)
    this.#pass(120)
    const owned = [
      ...this.#classic.flatMap((client) => client.owned),
      ...this.#consumers.flatMap((client) => client.owned.map(({ partition }) => partition)),
    ]
    const all = Array.from({ length: PARTITIONS }, (_, i) => i)
    assert.deepEqual(owned.sort(), all)
    const group = this.world.coordinator.groups.get(GROUP)
    assert.equal(group?.state, 'Stable')
    assert.equal(group?.type, stay === 'classic' ? 'classic' : 'consumer')
  }

  #pass(rounds: number): void {
    for (let i = 0; i < rounds; i++) {
      for (const client of [...this.#classic, ...this.#consumers]) client.act()
      this.world.commit()
      this.world.pass(200)
      this.world.commit()
      this.#check()
    }
  }
}
