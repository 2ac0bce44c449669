/** Limits of replication, set as Kafka's tools set them, on brokers made up. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  lift,
  liftWhatIsOver,
  limitsOf,
  type ThrottleConfigs,
  type ThrottledCluster,
  throttle,
} from '../../src/cli/cluster-throttle.ts'
import { CommandError } from '../../src/cli/command-error.ts'
import type { ConfigResource, ConfigValue } from '../../src/client/kafka-configs.ts'

class FakeConfigs implements ThrottleConfigs {
  readonly set = new Map<string, string>()
  isKnown = true
  /** A resource that nothing can be changed of. */
  refuses = ''

  describe({ type, name: of }: ConfigResource, names: readonly string[] | null = null) {
    const values = (names ?? []).map((name): ConfigValue => {
      const value = this.set.get(`${type} ${of} ${name}`) ?? null
      const flags = { readOnly: false, sensitive: false, synonyms: [] }
      return { name, value, source: value === null ? 'default' : type, ...flags }
    })
    return Promise.resolve(this.isKnown ? values : [])
  }

  async alter(...[{ type, name }, changes]: Parameters<ThrottleConfigs['alter']>): Promise<void> {
    if (`${type} ${name}` === this.refuses) throw new Error('refused')
    for (const change of changes) {
      const key = `${type} ${name} ${change.name}`
      if (change.operation === 'delete') this.set.delete(key)
      else this.set.set(key, change.value ?? '')
    }
  }
}

const MOVES = [
  { topic: 't', partition: 0, from: [1, 2], to: [2, 3] },
  { topic: 't', partition: 1, from: [1, 2], to: [2, 1] },
]

function clusterOf(configs: FakeConfigs, brokers = [1, 2, 3]): ThrottledCluster {
  return { brokers, configsOf: async () => configs }
}

test('throttle, sets rates and replicas, and lift takes them off again', async () => {
  const configs = new FakeConfigs()
  const limits = await throttle(clusterOf(configs), MOVES, 1000)
  assert.equal(configs.set.get('broker 3 follower.replication.throttled.rate'), '1000')
  assert.equal(configs.set.get('topic t leader.replication.throttled.replicas'), '0:1,0:2')
  assert.equal(configs.set.get('topic t follower.replication.throttled.replicas'), '0:3')
  assert.equal(configs.set.size, 3 * 2 + 2)
  await lift(clusterOf(configs), limits)
  assert.equal(configs.set.size, 0)
})

test('throttle, leaves out a broker that is not there: it copies nothing', async () => {
  const configs = new FakeConfigs()
  const limits = await throttle(clusterOf(configs, [2, 3]), MOVES, 1000)
  assert.deepEqual(limits, { brokers: [2, 3], topics: ['t'] })
})

test('throttle, lists that would be too long, are all there is', async () => {
  const configs = new FakeConfigs()
  const moves = Array.from({ length: 5000 }, (_, partition) => {
    return { topic: 't', partition, from: [1, 2], to: [2, 3] }
  })
  await throttle(clusterOf(configs), moves, 1000)
  assert.equal(configs.set.get('topic t leader.replication.throttled.replicas'), '*')
})

test('throttle, brokers that do not act on it, is refused before anything is set', async () => {
  const configs = new FakeConfigs()
  configs.isKnown = false
  await assert.rejects(throttle(clusterOf(configs), MOVES, 1000), CommandError)
  assert.equal(configs.set.size, 0)
})

test('throttle, when a broker refuses half-way, leaves nothing set', async () => {
  const configs = new FakeConfigs()
  configs.refuses = 'topic t'
  await assert.rejects(throttle(clusterOf(configs), MOVES, 1000), /refused/)
  assert.equal(configs.set.size, 0)
})

test('lift, takes off what it can, and says what is left and how that goes', async () => {
  const configs = new FakeConfigs()
  const limits = await throttle(clusterOf(configs), MOVES, 1000)
  configs.refuses = 'broker 2'
  await assert.rejects(lift(clusterOf(configs), limits), /broker 2: .*--unthrottle/)
  assert.equal(configs.set.size, 2)
})

test('liftWhatIsOver, leaves limits to what goes on', async () => {
  const configs = new FakeConfigs()
  const cluster = clusterOf(configs)
  const moves = [...MOVES, { topic: 'u', partition: 0, from: [1], to: [2] }]
  const limits = await throttle(cluster, moves, 1000)
  const left = await liftWhatIsOver(cluster, limits, [{ topic: 'u', partition: 0 }])
  assert.deepEqual(left, { brokers: [1, 2, 3], topics: ['u'] })
  assert.equal(configs.set.size, 3 * 2 + 2)
  assert.deepEqual(await limitsOf(cluster, ['t', 'u']), left)
  assert.deepEqual(await liftWhatIsOver(cluster, left, []), { brokers: [], topics: [] })
  assert.equal(configs.set.size, 0)
})
