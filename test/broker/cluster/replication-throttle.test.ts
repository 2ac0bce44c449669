/** Whose copying counts for a throttle, while options and metadata change. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ReplicationThrottle } from '../../../src/broker/cluster/replication-throttle.ts'
import { loadConfig } from '../../../src/config/load.ts'
import { MetadataImage } from '../../../src/metadata/image.ts'
import { active, altered, placed, TOPIC } from '../../metadata/cluster-records.ts'

const SELF = 1
const RATE = 'leader.replication.throttled.rate'

class Fixture {
  nowMs = 0
  readonly image = new MetadataImage()
  readonly config = loadConfig({})
  readonly throttle: ReplicationThrottle

  constructor() {
    for (const record of [...active(1, 2, 3), ...placed([1, 2, 3], [1, 3, 2])]) {
      this.image.apply(record)
    }
    this.throttle = new ReplicationThrottle({
      role: 'leader',
      nodeId: SELF,
      image: this.image,
      config: this.config,
      nowMs: () => this.nowMs,
    })
  }

  handle(partition: number): number {
    return this.image.topicsById.get(TOPIC)?.handles[partition] as number
  }

  list(value: string | null): void {
    const name = 'leader.replication.throttled.replicas'
    this.image.apply({ type: 'config', topicId: TOPIC, name, value })
    this.throttle.metadataChanged()
  }

  rate(text: string | null): void {
    this.config.setDynamic('cluster', RATE, text)
  }

  /** Partitions of which what broker 3 copies counts. */
  get counted(): number[] {
    return [0, 1].filter((partition) => this.throttle.counts(this.handle(partition), 3))
  }

  leaveSync(partition: number, inSyncReplicas: number[]): void {
    this.image.apply(altered(inSyncReplicas, partition))
  }
}

describe('ReplicationThrottle', () => {
  test('counts what is in the list and goes to a replica that is not in sync', () => {
    const fixture = new Fixture()
    fixture.rate('1000')
    fixture.list('0:1')
    assert.deepEqual(fixture.counted, [], 'all are in sync')
    fixture.leaveSync(0, [1, 2])
    fixture.leaveSync(1, [1, 2])
    assert.deepEqual(fixture.counted, [0])
    fixture.list('0:2,1:3')
    assert.deepEqual(fixture.counted, [], 'of other brokers')
    fixture.list('*')
    assert.deepEqual(fixture.counted, [0, 1])
    fixture.leaveSync(1, [1, 2, 3])
    assert.deepEqual(fixture.counted, [0], 'it is in sync again')
    fixture.list(null)
    assert.deepEqual(fixture.counted, [])
  })

  test('holds from the moment that a rate is set, and no longer than it is', () => {
    const fixture = new Fixture()
    fixture.list('*')
    fixture.leaveSync(0, [1, 2])
    assert.deepEqual([fixture.counted, fixture.throttle.mayTake()], [[], true])
    const { version } = fixture.throttle
    fixture.rate('1000')
    assert.notEqual(fixture.throttle.version, version)
    assert.deepEqual([fixture.counted, fixture.throttle.mayTake()], [[0], false])
    fixture.nowMs = 1
    assert.equal(fixture.throttle.mayTake(), true)
    fixture.throttle.take(5000)
    assert.ok(fixture.throttle.waitMs() > 4000)
    fixture.config.setDynamic('broker', RATE, '10')
    assert.ok(fixture.throttle.waitMs() <= 200, 'a debt is of its rate')
    fixture.config.setDynamic('broker', RATE, null)
    fixture.rate(null)
    assert.deepEqual([fixture.counted, fixture.throttle.waitMs()], [[], 0])
  })
})
