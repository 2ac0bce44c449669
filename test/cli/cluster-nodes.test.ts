/** The command lines of `cluster up`. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import {
  bootstrapOf,
  controllersOf,
  type LocalCluster,
  localNodes,
  startArguments,
} from '../../src/cli/cluster-nodes.ts'
import { clusterSecret } from '../../src/cli/cluster-secret.ts'

function clusterOf(nodes: number, nodesKnown = nodes): LocalCluster {
  const ports = { kafkaPort: 9092, httpPort: 8080, clusterPort: 19_092 }
  return { nodes, nodesKnown, dataDir: 'd', ...ports, shards: 1, set: ['num.partitions=6'] }
}

test('nodes, four, have ports that count up, and three controllers', () => {
  const cluster = clusterOf(4)
  const nodes = localNodes(cluster)
  assert.equal(bootstrapOf(nodes), '127.0.0.1:9092,127.0.0.1:9093,127.0.0.1:9094,127.0.0.1:9095')
  const three = '1@127.0.0.1:19092,2@127.0.0.1:19093,3@127.0.0.1:19094'
  assert.equal(controllersOf(cluster), three)
  const line = startArguments(cluster, nodes[3]!, { isPretty: false }).join(' ')
  for (const part of ['--node-id 4', `--controllers ${three}`, '--cluster 127.0.0.1:19095']) {
    assert.ok(line.includes(part), part)
  }
  assert.ok(line.endsWith('--set default.replication.factor=3 --set num.partitions=6'), line)
})

test('nodes, two, have one controller, but not where there were three', () => {
  assert.equal(controllersOf(clusterOf(2)), '1@127.0.0.1:19092')
  assert.equal(controllersOf(clusterOf(2, 3)).split(',').length, 3)
})

test('secret, is made once, for its owner only', () => {
  const dir = mkdtempSync(join(tmpdir(), 'millrace-secret-'))
  try {
    const { secret, path } = clusterSecret(join(dir, 'new'))
    assert.equal(statSync(path).mode & 0o777, 0o600)
    assert.deepEqual(clusterSecret(join(dir, 'new')), { secret, path })
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
})
