/** What a broker of a cluster is told, and what is refused before anything starts. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import {
  type ClusterTexts,
  checkRoles,
  parseCluster,
  parseControllers,
} from '../../src/config/cluster-config.ts'

const TEXTS: ClusterTexts = {
  nodeId: '1',
  controllers: '1@127.0.0.1:1901,2@127.0.0.1:1902,3@127.0.0.1:1903',
  roles: 'broker,controller',
  listener: '',
  clusterId: '',
  secret: 'no secret at all',
  insecure: false,
}

function problemsOf(texts: Partial<ClusterTexts>): string[] {
  const problems: string[] = []
  parseCluster({ ...TEXTS, ...texts }, problems)
  return problems
}

describe('parseCluster', () => {
  test('a controller, listens where the controllers say', () => {
    const problems: string[] = []
    const cluster = parseCluster(TEXTS, problems)
    assert.deepEqual(problems, [])
    assert.deepEqual(cluster?.listener, { host: '127.0.0.1', port: 1901 })
    assert.equal(cluster?.isController, true)
  })

  test('a node that is no controller, is a broker, and says where it listens', () => {
    assert.match(problemsOf({ nodeId: '4' }).join('\n'), /^millrace\.cluster\.listener: node 4/)
    const problems: string[] = []
    const cluster = parseCluster({ ...TEXTS, nodeId: '4', listener: '127.0.0.1:1904' }, problems)
    assert.deepEqual(problems, [])
    assert.equal(cluster?.isController, false)
  })

  test('a controller that is no broker', () => {
    const problems: string[] = []
    const cluster = parseCluster({ ...TEXTS, roles: 'controller' }, problems)
    assert.deepEqual(problems, [])
    assert.deepEqual([cluster?.isController, cluster?.isBroker], [true, false])
    assert.deepEqual(cluster?.listener, { host: '127.0.0.1', port: 1901 })
  })

  test('refuses roles that contradict the controllers, and says what to do', () => {
    const one = problemsOf({ roles: 'broker' }).join('\n')
    assert.match(one, /^process\.roles: node 1 is one of .*take it out .* or give it the role/)
    const stranger = { nodeId: '4', roles: 'controller', listener: '127.0.0.1:1904' }
    assert.match(problemsOf(stranger).join('\n'), /^process\.roles: node 4 .*name it there/)
    const alone = problemsOf({ controllers: '', roles: 'controller' }).join('\n')
    assert.match(alone, /^process\.roles: .*--controllers/)
  })

  test('refuses a short secret, and one line open to the world', () => {
    assert.match(problemsOf({ secret: 'short12' }).join('\n'), /^millrace\.cluster\.secret: /)
    const open = { nodeId: '4', listener: '0.0.0.0:1904' }
    assert.match(problemsOf(open).join('\n'), /is not encrypted/)
    assert.deepEqual(problemsOf({ ...open, insecure: true }), [])
  })

  test('refuses what is for clusters, where there is none', () => {
    const alone = { controllers: '', listener: '127.0.0.1:1', clusterId: 'x' }
    assert.equal(problemsOf(alone).length, 2)
    assert.deepEqual(problemsOf({ controllers: '' }), [])
  })
})

test('checkRoles, roles, takes those that a node can have', () => {
  for (const roles of ['broker', 'controller', 'broker,controller', 'controller, broker']) {
    assert.equal(checkRoles(roles), null, roles)
  }
  for (const roles of ['', 'broker,broker', 'broker,observer']) {
    assert.match(checkRoles(roles) ?? '', /^broker, controller, or both$/, roles)
  }
})

test('parseControllers, texts that name none, or one twice, are refused', () => {
  const wrong = [
    '1@h',
    'h:1',
    '1@h:0',
    '1@h:70000',
    '1@h:1,',
    '1@h:1,1@h:2',
    '1@h:1,2@h:1',
    '-1@h:1',
  ]
  for (const text of wrong) assert.equal(parseControllers(text), null, text)
  const many = Array.from({ length: 16 }, (_, i) => `${i}@h:${i + 1}`)
  assert.equal(parseControllers(many.join(',')), null)
  assert.equal(parseControllers(many.slice(1).join(','))?.length, 15)
})
