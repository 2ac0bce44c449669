/** The scripts of `millrace completion`, run by the shells that they are for. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { runProgram } from '../../src/cli/program.ts'

async function script(shell: string): Promise<string> {
  const out: string[] = []
  const streams = { out: (text: string) => out.push(text), err: () => {} }
  assert.equal(await runProgram(['completion', shell], async () => {}, streams), 0)
  return out.join('\n')
}

/** What bash would offer for a command line whose last word is being typed. */
function complete(source: string, words: readonly string[]): string[] {
  const line = words.map((word) => `'${word}'`).join(' ')
  const program = `${source}\nCOMP_WORDS=(${line}); COMP_CWORD=${words.length - 1}; _millrace
printf '%s\\n' "\${COMPREPLY[@]}"`
  const { stdout, stderr, status } = spawnSync('bash', ['-c', program], { encoding: 'utf8' })
  assert.equal(status, 0, stderr)
  return stdout.trim().split('\n')
}

test('completion, bash, offers commands and the options of the command that is typed', async () => {
  const source = await script('bash')
  const commands = complete(source, ['millrace', ''])
  for (const name of ['start', 'topic', 'produce', 'consume', 'demo', 'config', '--help']) {
    assert.ok(commands.includes(name), name)
  }
  assert.deepEqual(complete(source, ['millrace', 'to']), ['topic'])
  assert.ok(complete(source, ['millrace', 'topic', '']).includes('create'))
  assert.ok(complete(source, ['millrace', 'topic', 'create', 'x', '--pa']).includes('--partitions'))
  assert.deepEqual(complete(source, ['millrace', 'group', 're']), ['reset-offsets'])
  assert.ok(complete(source, ['millrace', 'config', 'set', '--all']).includes('--all-brokers'))
  assert.ok(complete(source, ['millrace', 'topic', 'describe', '--un']).includes('--unavailable'))
  assert.deepEqual(complete(source, ['millrace', 'bench', 'end']), ['end-to-end'])
  assert.ok(complete(source, ['millrace', 'bench', 'consume', '--ch']).includes('--check-crc'))
  assert.ok(complete(source, ['millrace', 'produce', 'x', '--key']).includes('--key-separator'))
})

test('completion, every shell, is a script that names every command', async () => {
  for (const shell of ['bash', 'zsh', 'fish']) {
    const source = await script(shell)
    for (const name of ['start', 'produce', 'consume', 'demo']) assert.ok(source.includes(name))
  }
  for (const shell of ['zsh', 'fish']) {
    const known = spawnSync(shell, ['--version']).status === 0
    if (!known) continue
    const { status, stderr } = spawnSync(shell, ['-n'], { input: await script(shell) })
    assert.equal(status, 0, String(stderr))
  }
})
