/** How a process becomes a broker of its cluster, remains one, and ceases to be one. */
import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import { BrokerLifecycle } from '../../../src/broker/cluster/broker-lifecycle.ts'
import type { ControllerService } from '../../../src/broker/cluster/controller-service.ts'
import { loadConfig } from '../../../src/config/load.ts'
import { BrokerError } from '../../../src/errors/broker-error.ts'
import { ErrorCode } from '../../../src/errors/error-code.ts'
import { ClusterApi } from '../../../src/wire/kafka/api.ts'
import { SaidLogger, settled } from '../../cluster/fixture.ts'
import { DIRECTORY, registered } from '../../metadata/cluster-records.ts'
import { FakeNode, type LinkRequest } from './fake-node.ts'

const LEADER = 2
const EPOCH = 5
const AT = { host: 'localhost', port: 9000, endpoints: [] }

class Fixture {
  readonly node = new FakeNode()
  readonly logger = new SaidLogger()
  readonly failures: unknown[] = []
  readonly written: number[] = []
  /** What the controller on this node was asked. */
  readonly here: string[] = []
  readonly lifecycle: BrokerLifecycle
  readonly #t: TestContext
  readonly #startMs: number

  constructor(t: TestContext) {
    this.#t = t
    this.#startMs = performance.now()
    t.mock.timers.enable({ apis: ['setTimeout', 'setInterval'] })
    t.mock.method(performance, 'now', () => this.#startMs + this.node.nowMs)
    const controller = {
      register: () => {
        this.here.push('register')
        return Promise.resolve({ errorCode: 0, errorMessage: null, brokerEpoch: EPOCH })
      },
      beat: () => {
        this.here.push('beat')
        return Promise.resolve({ errorCode: 0, isFenced: false, mayShutDown: false })
      },
    }
    this.lifecycle = new BrokerLifecycle({
      node: this.node.asNode,
      controller: controller as unknown as ControllerService,
      config: loadConfig(),
      directories: [DIRECTORY(1)],
      previousBrokerEpoch: () => 3,
      onRegistered: (brokerEpoch) => {
        this.written.push(brokerEpoch)
        return Promise.resolve()
      },
      logger: this.logger,
      onFailure: (error) => this.failures.push(error),
    })
    t.after(() => this.lifecycle.stop())
  }

  async pass(ms: number, stepMs = 10): Promise<void> {
    for (let passed = 0; passed < ms; passed += stepMs) {
      this.node.nowMs += stepMs
      this.#t.mock.timers.tick(stepMs)
      await settled()
    }
  }

  /** The oldest request that is not answered. */
  async next(): Promise<LinkRequest> {
    await settled()
    const request = this.node.requests.shift()
    assert.ok(request !== undefined, 'something is asked')
    return request
  }

  async answerRegister(errorCode: ErrorCode, brokerEpoch = -1): Promise<void> {
    const { apiKey, answer } = await this.next()
    assert.equal(apiKey, ClusterApi.REGISTER_BROKER)
    answer({ errorCode, errorMessage: null, brokerEpoch })
    await settled()
  }

  async answerBeat(
    more: { errorCode?: number; isFenced?: boolean; mayShutDown?: boolean } = {},
  ): Promise<{ wantsShutdown: boolean; brokerEpoch: number }> {
    const { apiKey, answer, body } = await this.next()
    assert.equal(apiKey, ClusterApi.BROKER_BEAT)
    answer({ errorCode: 0, isFenced: false, mayShutDown: false, ...more })
    await settled()
    return body
  }

  /** Registered, and unfenced. */
  async serve(): Promise<void> {
    this.node.ledBy(LEADER)
    const registering = this.lifecycle.register(AT)
    await this.answerRegister(ErrorCode.NONE, EPOCH)
    this.node.commit(registered(1, EPOCH))
    await registering
    const serving = this.lifecycle.serve()
    await this.answerBeat()
    await serving
  }
}

describe('BrokerLifecycle, registering', () => {
  test('asks the leader, and is done once that is applied and written down', async (t) => {
    const fixture = new Fixture(t)
    fixture.node.ledBy(LEADER)
    let isDone = false
    const registering = fixture.lifecycle.register(AT).then(() => {
      isDone = true
    })
    await settled()
    const [request] = fixture.node.requests as [LinkRequest]
    const body = request.body as { brokerId: number; previousBrokerEpoch: number }
    assert.deepEqual([request.peerId, body.brokerId, body.previousBrokerEpoch], [LEADER, 1, 3])
    await fixture.answerRegister(ErrorCode.NONE, EPOCH)
    fixture.node.commit(registered(2, 4))
    await settled()
    assert.deepEqual([isDone, fixture.written], [false, []])
    fixture.node.commit(registered(1, EPOCH))
    await registering
    assert.deepEqual([fixture.lifecycle.brokerEpoch, fixture.written], [EPOCH, [EPOCH]])
  })

  test('asks itself where it leads', async (t) => {
    const fixture = new Fixture(t)
    fixture.node.ledBy(1)
    fixture.node.commit(registered(1, EPOCH))
    await fixture.lifecycle.register(AT)
    assert.deepEqual(fixture.here, ['register'])
  })

  test('asks again while nobody leads, is reached, or lets it in', async (t) => {
    const fixture = new Fixture(t)
    const registering = fixture.lifecycle.register(AT)
    await fixture.pass(6000)
    assert.match(fixture.logger.text, /waiting to be registered/)
    fixture.node.ledBy(LEADER)
    await fixture.pass(100)
    ;(await fixture.next()).lose()
    await fixture.pass(100)
    await fixture.answerRegister(ErrorCode.NOT_CONTROLLER)
    await fixture.pass(100)
    await fixture.answerRegister(ErrorCode.DUPLICATE_BROKER_REGISTRATION)
    await fixture.pass(100)
    await fixture.answerRegister(ErrorCode.NONE, EPOCH)
    fixture.node.commit(registered(1, EPOCH))
    await registering
  })

  test('gives up where it is refused for good, or another process lives on', async (t) => {
    const fixture = new Fixture(t)
    fixture.node.ledBy(LEADER)
    const code = ErrorCode.INCONSISTENT_CLUSTER_ID
    const refused = assert.rejects(fixture.lifecycle.register(AT), { code })
    await fixture.answerRegister(code)
    await refused
    const taken = { code: ErrorCode.DUPLICATE_BROKER_REGISTRATION }
    const other = assert.rejects(fixture.lifecycle.register(AT), taken)
    for (let i = 0; i < 2; i++) {
      await fixture.answerRegister(ErrorCode.DUPLICATE_BROKER_REGISTRATION)
      await fixture.pass(20_050, 50)
    }
    await other
  })

  test('gives up when it is stopped', async (t) => {
    const fixture = new Fixture(t)
    const gone = assert.rejects(fixture.lifecycle.register(AT), BrokerError)
    await settled()
    fixture.lifecycle.stop()
    await fixture.pass(50)
    await gone
  })

  test('gives up when another process takes its place before it has heard of its own', async (t) => {
    const fixture = new Fixture(t)
    fixture.node.ledBy(LEADER)
    const replaced = { code: ErrorCode.STALE_BROKER_EPOCH }
    const gone = assert.rejects(fixture.lifecycle.register(AT), replaced)
    await fixture.answerRegister(ErrorCode.NONE, EPOCH)
    fixture.node.commit(registered(1, EPOCH), registered(1, EPOCH + 1))
    await gone
    assert.deepEqual(fixture.written, [])
  })
})

describe('BrokerLifecycle, serving', () => {
  test('serves once it is unfenced, and tells the controller again and again', async (t) => {
    const fixture = new Fixture(t)
    fixture.node.ledBy(LEADER)
    const registering = fixture.lifecycle.register(AT)
    await fixture.answerRegister(ErrorCode.NONE, EPOCH)
    fixture.node.commit(registered(1, EPOCH))
    await registering
    let isServing = false
    void fixture.lifecycle.serve().then(() => {
      isServing = true
    })
    await fixture.answerBeat({ isFenced: true })
    assert.deepEqual([isServing, fixture.lifecycle.mayBeDeposed], [false, true])
    await fixture.pass(2000)
    const { brokerEpoch, wantsShutdown } = await fixture.answerBeat()
    assert.deepEqual([brokerEpoch, wantsShutdown, isServing], [EPOCH, false, true])
    assert.equal(fixture.lifecycle.mayBeDeposed, true, 'that was asked long ago')
    while (fixture.node.requests.length > 0) await fixture.answerBeat()
    await fixture.pass(300)
    while (fixture.node.requests.length > 0) await fixture.answerBeat()
    assert.equal(fixture.lifecycle.mayBeDeposed, false)
    await fixture.pass(2000)
    await fixture.answerBeat({ isFenced: true })
    assert.equal(fixture.lifecycle.mayBeDeposed, true)
  })

  test('has few heartbeats open with a leader that does not answer, and goes on with the next', async (t) => {
    const fixture = new Fixture(t)
    await fixture.serve()
    await fixture.pass(60_000, 100)
    const open = fixture.node.requests.splice(0)
    assert.equal(open.length, 4)
    for (const { lose } of open) lose()
    fixture.node.ledBy(3)
    await fixture.pass(2000)
    assert.equal(fixture.node.requests[0]?.peerId, 3)
    for (const { lose } of fixture.node.requests.splice(0)) lose()
    fixture.node.ledBy(1)
    await fixture.pass(4000)
    assert.ok(fixture.here.includes('beat'))
    assert.deepEqual(fixture.failures, [])
  })

  const over = [ErrorCode.STALE_BROKER_EPOCH, ErrorCode.BROKER_ID_NOT_REGISTERED]
  for (const code of over) {
    test(`ends with ${code} when it is no broker of the cluster any more`, async (t) => {
      const fixture = new Fixture(t)
      await fixture.serve()
      await fixture.pass(2000)
      await fixture.answerBeat({ errorCode: code, isFenced: true })
      assert.equal((fixture.failures[0] as BrokerError).code, code)
    })
  }
})

describe('BrokerLifecycle, stopping', () => {
  test('asks until it may, and not more often with each heartbeat', async (t) => {
    const fixture = new Fixture(t)
    await fixture.serve()
    let isDone = false
    const draining = fixture.lifecycle.drain().then(() => {
      isDone = true
    })
    let asked = 0
    for (let ms = 0; ms < 10_000; ms += 10) {
      await fixture.pass(10)
      for (; fixture.node.requests.length > 0; asked++) {
        const { wantsShutdown } = await fixture.answerBeat()
        assert.equal(wantsShutdown, true)
      }
    }
    assert.equal(isDone, false)
    assert.ok(asked > 50 && asked < 300, `${asked} heartbeats in 10 s`)
    await fixture.pass(60)
    await fixture.answerBeat({ mayShutDown: true })
    await fixture.pass(10)
    await draining
    assert.deepEqual(fixture.logger.lines, [])
  })

  test('stops all the same without a controller, and when nobody takes over', async (t) => {
    const alone = new Fixture(t)
    await alone.serve()
    alone.node.ledBy(null)
    const gone = alone.lifecycle.drain()
    await alone.pass(3100)
    await gone
    assert.match(alone.logger.text, /there is no controller/)
  })

  test('stops all the same when nobody takes over', async (t) => {
    const fixture = new Fixture(t)
    await fixture.serve()
    const gone = fixture.lifecycle.drain()
    for (let ms = 0; ms < 31_000; ms += 50) {
      await fixture.pass(50, 50)
      while (fixture.node.requests.length > 0) await fixture.answerBeat()
    }
    await gone
    assert.match(fixture.logger.text, /nobody takes it over/)
  })

  test('needs nobody where it has never served', async (t) => {
    await new Fixture(t).lifecycle.drain()
  })

  test('says nothing more once it is stopped', async (t) => {
    const fixture = new Fixture(t)
    await fixture.serve()
    await fixture.pass(2000)
    const { answer } = await fixture.next()
    fixture.node.requests.length = 0
    fixture.lifecycle.stop()
    answer({ errorCode: ErrorCode.STALE_BROKER_EPOCH, isFenced: true, mayShutDown: false })
    await fixture.pass(20_000, 100)
    assert.deepEqual([fixture.failures, fixture.node.requests], [[], []])
  })
})
