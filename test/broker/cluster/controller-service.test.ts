/** The active controller, on a node that leads the quorum or does not. */
import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import { ControllerService } from '../../../src/broker/cluster/controller-service.ts'
import { loadConfig } from '../../../src/config/load.ts'
import { ErrorCode } from '../../../src/errors/error-code.ts'
import { SaidLogger, settled } from '../../cluster/fixture.ts'
import { active, placed, registered, TOPIC, uuidFor } from '../../metadata/cluster-records.ts'
import { FakeNode } from './fake-node.ts'

const { NONE, NOT_CONTROLLER, STALE_BROKER_EPOCH } = ErrorCode
const STEP_MS = 50

class Fixture {
  readonly node = new FakeNode()
  readonly logger = new SaidLogger()
  readonly failures: unknown[] = []
  readonly service: ControllerService
  readonly #t: TestContext

  constructor(t: TestContext) {
    this.#t = t
    t.mock.timers.enable({ apis: ['setTimeout'] })
    this.service = new ControllerService({
      node: this.node.asNode,
      config: loadConfig(),
      clock: this.node.clock,
      logger: this.logger,
      onFailure: (error) => this.failures.push(error),
    })
  }

  async pass(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += STEP_MS) {
      this.node.nowMs += STEP_MS
      this.#t.mock.timers.tick(STEP_MS)
      await settled()
      await settled()
    }
  }

  register(brokerId: number) {
    const directories = [uuidFor('D', brokerId)]
    const where = { host: 'localhost', port: 9000, endpoints: [], rack: null, directories }
    const incarnationId = uuidFor('I', brokerId)
    return this.service.register({ brokerId, incarnationId, previousBrokerEpoch: -1, ...where })
  }

  beat(brokerId: number, brokerEpoch: number, more: { wantsShutdown?: boolean } = {}) {
    const { appliedOffset } = this.node.metadata
    const wants = { wantsFence: false, wantsShutdown: false, ...more }
    return this.service.beat({ brokerId, brokerEpoch, metadataOffset: appliedOffset, ...wants })
  }

  types(): string[] {
    return this.node.proposed.splice(0).flatMap((records) => records.map(({ type }) => type))
  }
}

const ALTER = {
  brokerId: 1,
  brokerEpoch: 1,
  partitions: [
    {
      topicId: TOPIC,
      partition: 0,
      leaderEpoch: 0,
      partitionEpoch: 0,
      members: [{ brokerId: 1, brokerEpoch: -1 }],
    },
  ],
}

describe('ControllerService', () => {
  test('decides nothing where another node leads', async (t) => {
    const fixture = new Fixture(t)
    fixture.node.ledBy(2)
    assert.equal((await fixture.register(3)).errorCode, NOT_CONTROLLER)
    assert.equal((await fixture.beat(3, 1)).errorCode, NOT_CONTROLLER)
    assert.equal((await fixture.service.alterPartitions(ALTER)).errorCode, NOT_CONTROLLER)
    fixture.service.connectionLost(3)
    await fixture.pass(60_000)
    assert.deepEqual(fixture.types(), [])
  })

  test('registers brokers, unfences them, and fences whoever is not heard', async (t) => {
    const fixture = new Fixture(t)
    fixture.node.ledBy(1)
    const { errorCode, brokerEpoch } = await fixture.register(3)
    assert.equal(errorCode, NONE)
    assert.equal(fixture.node.metadata.image.brokers.get(3)?.epoch, brokerEpoch)
    assert.equal((await fixture.beat(3, brokerEpoch)).isFenced, false)
    assert.equal((await fixture.beat(3, brokerEpoch)).isFenced, false)
    assert.deepEqual(fixture.types(), ['broker-registered', 'broker-unfenced'])
    assert.equal((await fixture.beat(3, brokerEpoch + 1)).errorCode, STALE_BROKER_EPOCH)
    for (let i = 0; i < 20; i++) {
      await fixture.pass(500)
      await fixture.beat(3, brokerEpoch)
    }
    assert.deepEqual(fixture.types(), [])
    await fixture.pass(30_000)
    assert.deepEqual(fixture.types(), ['broker-fenced'])
    assert.equal(fixture.node.metadata.image.brokers.get(3)?.isFenced, true)
    assert.match(fixture.logger.text, /broker 3 is not heard/)
  })

  test('decides on proposals of leaders', async (t) => {
    const fixture = new Fixture(t)
    fixture.node.commit(...active(1, 2), ...placed([1, 2]))
    fixture.node.ledBy(1)
    const { errorCode, partitions } = await fixture.service.alterPartitions(ALTER)
    assert.deepEqual([errorCode, partitions], [NONE, [{ errorCode: NONE }]])
    assert.deepEqual(fixture.types(), ['partition-altered'])
    const again = await fixture.service.alterPartitions(ALTER)
    assert.deepEqual(again.partitions, [{ errorCode: ErrorCode.INVALID_UPDATE_VERSION }])
    const stale = await fixture.service.alterPartitions({ ...ALTER, brokerEpoch: 9 })
    assert.equal(stale.errorCode, STALE_BROKER_EPOCH)
  })

  test('gives an answer to nobody once another node leads, though a change is open', async (t) => {
    const fixture = new Fixture(t)
    fixture.node.ledBy(1)
    fixture.node.isTaking = false
    const registering = fixture.register(3)
    await settled()
    assert.deepEqual(fixture.types(), ['broker-registered'])
    fixture.node.ledBy(2)
    await fixture.pass(STEP_MS)
    assert.equal((await registering).errorCode, NOT_CONTROLLER)
    assert.deepEqual(fixture.types(), [])
  })

  test('is made anew in each epoch: nobody is blamed for time in which another one led', async (t) => {
    const fixture = new Fixture(t)
    fixture.node.commit(...active(1, 2))
    fixture.node.ledBy(1)
    await fixture.pass(500)
    fixture.node.ledBy(null)
    await fixture.pass(60_000)
    assert.deepEqual(fixture.types(), [])
    fixture.node.ledBy(1)
    await fixture.pass(500)
    assert.deepEqual(fixture.types(), [])
    assert.equal((await fixture.beat(2, 2)).errorCode, NONE)
    await fixture.pass(60_000)
    assert.deepEqual(fixture.types().sort(), ['broker-fenced', 'broker-fenced'])
  })

  /** `lostMs`: when its connection broke, of the time in which it was heard last at 5000. */
  for (const [what, lostMs, isVoter, fencedMs] of [
    ['whose connection broke', 5050, true, 5600],
    ['that fell silent', null, true, 5700],
    ['whose connection broke before it was heard again', 3000, true, 5700],
    ['that was taken out of the quorum', 5050, false, 6300],
  ] as const) {
    test(`fences the controller before it, ${what}, after ${fencedMs - 5000} ms`, async (t) => {
      const fixture = new Fixture(t)
      const { node, service } = fixture
      node.commit(...active(1, 2))
      node.ledBy(2)
      for (let at = STEP_MS; at <= 5300; at += STEP_MS) {
        await fixture.pass(STEP_MS)
        if (at <= 5000) node.quorum.leaderHeardMs = node.nowMs
        if (at === lostMs) service.connectionLost(2)
      }
      if (!isVoter) node.quorum.voters.pop()
      node.ledBy(1)
      const beatUntil = async (untilMs: number): Promise<void> => {
        while (node.nowMs < untilMs) {
          await fixture.pass(STEP_MS)
          await fixture.beat(1, node.metadata.image.brokers.get(1)?.epoch ?? -1)
        }
      }
      await beatUntil(fencedMs - STEP_MS)
      assert.deepEqual(fixture.types(), [])
      await beatUntil(fencedMs + STEP_MS)
      assert.deepEqual(fixture.types(), ['broker-fenced'])
    })
  }

  test('decides again what came to nothing', async (t) => {
    const fixture = new Fixture(t)
    fixture.node.commit(...active(1))
    fixture.node.ledBy(1)
    fixture.node.isTaking = false
    await fixture.pass(30_000)
    assert.ok(fixture.types().length > 1)
    fixture.node.isTaking = true
    await fixture.pass(2000)
    assert.equal(fixture.node.metadata.image.brokers.get(1)?.isFenced, true)
    assert.deepEqual(fixture.failures, [])
  })

  test('does nothing once it is stopped', async (t) => {
    const fixture = new Fixture(t)
    fixture.node.commit(...active(1), registered(2, 9))
    fixture.node.ledBy(1)
    fixture.service.stop()
    assert.equal((await fixture.beat(1, 1)).errorCode, NOT_CONTROLLER)
    await fixture.pass(60_000)
    assert.deepEqual(fixture.types(), [])
  })
})
