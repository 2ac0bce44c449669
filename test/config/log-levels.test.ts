import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ConfigError, loadConfig } from '../../src/config/load.ts'
import { checkLogLevels, parseLogLevels } from '../../src/config/log-levels.ts'
import { secret, shownText, text } from '../../src/config/option.ts'

describe('millrace.log.level', () => {
  test('takes one level, and others for components', () => {
    const parsed = parseLogLevels('warn, storage=debug,kafka = silent')
    assert.ok(parsed.ok)
    assert.equal(parsed.value.all, 'warn')
    assert.deepEqual(
      [...parsed.value.components],
      [
        ['storage', 'debug'],
        ['kafka', 'silent'],
      ],
    )
  })

  test('leaves the others at info when only components are named', () => {
    const parsed = parseLogLevels('http=error')
    assert.ok(parsed.ok)
    assert.equal(parsed.value.all, 'info')
  })

  for (const [wrong, expected] of [
    ['loud', /levels among trace, debug, info/],
    ['', /levels among/],
    ['info,', /levels among/],
    [
      'info,disk=debug',
      /components among broker, groups, cluster, storage, metadata, kafka, websocket, http/,
    ],
    ['info,storage=loud', /levels among/],
    ['info,warn', /one level for all/],
    ['kafka=info,kafka=warn', /one level for kafka/],
    ['kafka=info=warn', /levels among/],
  ] as const) {
    test(`says what is wrong with "${wrong}"`, () => {
      assert.match(checkLogLevels(wrong) ?? '', expected)
    })
  }

  test('a broker refuses to start with a component that there is none of', () => {
    assert.throws(
      () => loadConfig({ set: ['millrace.log.level=disk=debug'] }),
      (error) =>
        error instanceof ConfigError &&
        /millrace\.log\.level: expected components among broker, groups, cluster, storage/.test(
          error.message,
        ),
    )
  })
})

test('a secret option is shown to nobody', () => {
  assert.equal(shownText(secret('A password.'), 'hunter2'), '(hidden)')
  assert.equal(shownText(secret('A password.'), null), null)
  assert.equal(shownText(text('x', 'No secret.'), 'hunter2'), 'hunter2')
})
