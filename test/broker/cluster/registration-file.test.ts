/** Whether what a broker acknowledged before its start can have been lost since. */
import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import {
  previousBrokerEpoch,
  startWithoutBroker,
  writeRegistration,
} from '../../../src/broker/cluster/registration-file.ts'
import { BrokerError } from '../../../src/errors/broker-error.ts'

function boot(id: string): void {
  process.env.MILLRACE_TEST_BOOT_ID = id
}

describe('the registration of the process before', () => {
  let directory = ''
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'millrace-registration-'))
    boot('first')
  })
  after(async () => {
    delete process.env.MILLRACE_TEST_BOOT_ID
    await rm(directory, { recursive: true, force: true })
  })

  test('is unknown where nothing was written', () => {
    assert.equal(previousBrokerEpoch(directory, true), -1)
  })

  test('is known while the machine runs on', async () => {
    await writeRegistration(directory, 41)
    assert.equal(previousBrokerEpoch(directory, false), 41)
    await writeRegistration(directory, 42)
    assert.equal(previousBrokerEpoch(directory, false), 42)
  })

  test('is known after the machine has restarted if the stop was in order', () => {
    boot('second')
    assert.equal(previousBrokerEpoch(directory, true), 42)
    boot('first')
  })

  test('is unknown once something may be lost, though this process is stopped in order', async () => {
    boot('second')
    assert.equal(previousBrokerEpoch(directory, false), -1)
    assert.equal(previousBrokerEpoch(directory, true), -1)
    await writeRegistration(directory, 43)
    assert.equal(previousBrokerEpoch(directory, false), 43)
    boot('first')
  })

  test('is unknown after a crash and a process that was no broker, and stopped in order', async () => {
    await writeRegistration(directory, 44)
    startWithoutBroker(directory, true)
    assert.equal(previousBrokerEpoch(directory, false), 44)
    startWithoutBroker(directory, false)
    boot('second')
    assert.equal(previousBrokerEpoch(directory, true), -1)
    boot('first')
  })

  const damaged = ['', 'null', '{"brokerEpoch":4', '{}', '{"bootId":"first","brokerEpoch":"4"}']
  for (const text of damaged) {
    test(`is unknown where the file has ${JSON.stringify(text)}`, async () => {
      await writeFile(join(directory, 'broker-registration'), text)
      assert.equal(previousBrokerEpoch(directory, true), -1)
    })
  }

  test('is of no known machine where the file names none', async () => {
    await writeFile(join(directory, 'broker-registration'), '{"bootId":null,"brokerEpoch":4}')
    assert.equal(previousBrokerEpoch(directory, true), 4)
    assert.equal(previousBrokerEpoch(directory, false), -1)
  })

  test('cannot be written where there is no directory', async () => {
    await assert.rejects(writeRegistration(join(directory, 'none'), 1), BrokerError)
  })
})
