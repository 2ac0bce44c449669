/**
 * Consumer groups (KIP-848) under everything that can happen to them: members come, go, crash,
 * pause and are cut off, subscriptions and topics change, the coordinator restarts at any point.
 * Thousands of short histories, by seed.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Random } from '../../src/base/random.ts'
import type { ConsumerGroup } from '../../src/coordinator/group/consumer-group.ts'
import { ConsumerClient, type Subscription } from './consumer-client.ts'
import { GroupWorld } from './group-world.ts'
import { runHistories } from './histories.ts'

const FILE = 'test/coordinator/consumer-group'
const GROUP = 'g'
const HISTORIES = 1500
const STEPS = 150
const TOPICS = ['t', 'u', 'v']
const SUBSCRIPTIONS: readonly Subscription[] = [
  { names: ['t', 'u'], regex: '' },
  { names: ['t', 'u'], regex: '' },
  { names: ['t'], regex: '' },
  { names: [], regex: '[tv]' },
  { names: ['u'], regex: 't' },
]

describe('a consumer group, random histories', () => {
  test('nobody owns a partition twice, nothing goes back, all converge', async () => {
    const seen = { restarts: 0, epochs: 0, records: 0 }
    await runHistories(FILE, {
      count: HISTORIES,
      make: (random) => new History(random),
      seen: (history) => {
        seen.restarts += history.world.restarts
        seen.epochs += history.group?.groupEpoch ?? 0
        seen.records += history.world.log.length
      },
    })
    assert(seen.restarts > HISTORIES / 2, 'restarts are part of it')
    assert(seen.epochs > HISTORIES * 5, 'so are rebalances')
    assert(seen.records > HISTORIES * 50, 'and commits')
  })
})

class History {
  readonly world: GroupWorld
  readonly #random: Random
  readonly #clients: ConsumerClient[]

  constructor(random: Random) {
    this.#random = random
    this.world = new GroupWorld(random.split())
    this.world.topics.set('t', 6)
    this.world.topics.set('u', 3)
    this.#clients = Array.from({ length: random.between(1, 5) }, (_, i) => {
      return new ConsumerClient(`c${i}`, {
        group: GROUP,
        world: this.world,
        random: random.split(),
        instanceId: random.chance(0.3) ? `static-${i}` : null,
        subscription: random.pick(SUBSCRIPTIONS),
      })
    })
  }

  get group(): ConsumerGroup | undefined {
    const group = this.world.coordinator.groups.get(GROUP)
    return group?.type === 'consumer' ? group : undefined
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
    else if (dice < 0.79) this.world.pass(random.pick([10, 100, 400, 400, 1000]))
    else if (dice < 0.83) client.isPaused = !client.isPaused
    else if (dice < 0.85) this.world.pass(random.between(2000, 8000))
    else if (dice < 0.87) client.leave()
    else if (dice < 0.875) client.leave(true)
    else if (dice < 0.89) client.crash()
    else if (dice < 0.9) client.subscribe(random.pick(SUBSCRIPTIONS))
    else if (dice < 0.915) this.#changeTopics()
    else if (dice < 0.94) this.#restart()
    else this.world.commitSome()
    if (random.chance(0.7)) this.world.commitSome()
  }

  #changeTopics(): void {
    const { topics } = this.world
    const name = this.#random.pick(TOPICS)
    const partitions = topics.byName(name)?.partitions ?? 0
    if (partitions > 0 && this.#random.chance(0.3)) this.world.deleteTopic(name)
    else if (partitions < 12) topics.set(name, partitions + this.#random.between(1, 3))
  }

  #restart(): void {
    this.world.restart()
    for (const client of this.#clients) client.disconnect()
  }

  #check(): void {
    const owners = new Map<string, string>()
    for (const { name, owned, violations } of this.#clients) {
      assert.deepEqual(violations, [])
      for (const { topicId, partition } of owned) {
        const key = `${topicId}/${partition}`
        const other = owners.get(key)
        assert(other === undefined, `partition ${key} is owned by ${other} and ${name}`)
        owners.set(key, name)
      }
    }
  }

  /** No faults any more: all reach the target, and all that somebody wants is owned. */
  #comeToRest(): void {
    for (const client of this.#clients) client.isPaused = false
    for (let i = 0; i < 120; i++) {
      for (const client of this.#clients) client.act()
      this.world.commit()
      this.world.pass(200)
      this.world.commit()
      this.#check()
    }
    const { group } = this
    assert(group !== undefined)
    assert.equal(group.state, 'Stable')
    for (const client of this.#clients) {
      assert.equal(client.memberEpoch, group.assignmentEpoch, client.name)
    }
    this.#checkAllOwned()
    this.#checkBalance()
  }

  #checkAllOwned(): void {
    const wanted: string[] = []
    for (const name of TOPICS) {
      const topic = this.world.topics.byName(name)
      if (topic === undefined || !this.#clients.some((each) => wants(each, name))) continue
      for (let i = 0; i < topic.partitions; i++) wanted.push(`${topic.id}/${i}`)
    }
    const owned = this.#clients.flatMap((client) =>
      client.owned.map(({ topicId, partition }) => `${topicId}/${partition}`),
    )
    assert.deepEqual(owned.sort(), wanted.sort())
    for (const client of this.#clients) {
      for (const { topic } of client.owned) assert(wants(client, topic), 'it did not ask for it')
    }
  }

  #checkBalance(): void {
    const [first] = this.#clients
    if (this.#clients.some(({ subscription }) => subscription !== first?.subscription)) return
    const counts = this.#clients.map(({ owned }) => owned.length)
    assert(Math.max(...counts) - Math.min(...counts) <= 1, `uneven: ${counts}`)
  }
}

function wants({ subscription }: ConsumerClient, topic: string): boolean {
  const { names, regex } = subscription
  return names.includes(topic) || (regex !== '' && new RegExp(`^(?:${regex})$`).test(topic))
}
