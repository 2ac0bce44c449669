/**
 * Checks the clients themselves against a broker that is known to be right (Apache Kafka). Not part
 * of the suite: run the compiled file with the broker's address and, to dump its log, its
 * directory.
 *
 *   node build/test/e2e/clients/clients.manual.js 127.0.0.1:9092 [log directory]
 */
import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import {
  checkAppendTime,
  checkAutoCreation,
  checkJavaOffsets,
  checkJavaRefusals,
  checkJavaTopics,
  checkKafkajsAdmin,
  checkPythonAdmin,
} from './admin-checks.ts'
import { COMPRESSIONS } from './client.ts'
import { dumpLog } from './dump-log.ts'
import { JavaClient } from './java.ts'
import { kafkaClients } from './kafka-clients.ts'
import { kafkaPython } from './kafka-python.ts'
import { kafkajsClient } from './kafkajs.ts'
import { checkTopic, writeTopic } from './matrix.ts'

const PARTITIONS = 2

async function main(bootstrap: string, directory: string | undefined): Promise<void> {
  const java = new JavaClient()
  const clients = kafkaClients(java)
  try {
    for (const writer of clients) {
      const usable = writer.available()
      if (usable !== true) throw new Error(usable)
      const topic = `manual-${writer.name}-${Date.now()}`
      await java.createTopic({ bootstrap, topic, partitions: PARTITIONS })
      const started = performance.now()
      const written = await writeTopic(writer, { bootstrap, topic, partitions: PARTITIONS }, 1)
      console.log(`${writer.name} wrote in ${Math.round(performance.now() - started)} ms`)
      for (const reader of clients) {
        const from = performance.now()
        const compared = await checkTopic(reader, written)
        const ms = Math.round(performance.now() - from)
        console.log(`${writer.name} → ${reader.name}: ${compared} records agree (${ms} ms)`)
      }
      if (directory !== undefined) await checkDump(join(directory, `${topic}-0`))
    }
    const target = { bootstrap, prefix: `manual-${Date.now()}` }
    await checkJavaTopics(java, target)
    await checkJavaRefusals(java, target)
    await checkJavaOffsets(java, target)
    await checkAppendTime(java, target)
    await checkKafkajsAdmin(kafkajsClient, target)
    await checkPythonAdmin(kafkaPython, target)
    for (const writer of clients) await checkAutoCreation(writer, java, target)
    console.log('The admins agree')
  } finally {
    for (const client of clients) await client.close()
  }
}

async function checkDump(directory: string): Promise<void> {
  const files = readdirSync(directory).filter((name) => /\.(log|index|timeindex)$/.test(name))
  const dump = await dumpLog(files.map((name) => join(directory, name)))
  assert.deepEqual([dump.status, dump.complaints], [0, []])
  for (const codec of COMPRESSIONS) assert.match(dump.output, new RegExp(`compresscodec: ${codec}`))
  console.log(`DumpLogSegments reads ${files.join(', ')}`)
}

const [bootstrap, directory] = process.argv.slice(2)
if (bootstrap === undefined) throw new Error('Usage: clients.manual.js HOST:PORT [DIRECTORY]')
await main(bootstrap, directory)
