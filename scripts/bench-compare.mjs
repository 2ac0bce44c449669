/**
 * Two commits side by side: builds each in a work tree of its own under .cache/compare, then runs
 * cells of the suite with both, forth and back, in one go.
 *
 *   node scripts/bench-compare.mjs BEFORE [AFTER] [-- suite options]
 *
 * AFTER: a commit, or the files as they lie here (default). Without options: rows a and d, quick.
 */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { main, root, StepError, say } from './lib/prepare.mjs'

const USAGE = 'node scripts/bench-compare.mjs BEFORE [AFTER] [-- suite options]'

/** Runs a program with this terminal; throws when it fails. */
function need(command, args, cwd = root) {
  const { status, error } = spawnSync(command, args, { cwd, stdio: ['ignore', 2, 2] })
  if (error !== undefined || status !== 0) {
    throw new StepError(`${command} ${args.join(' ')} failed${error ? `: ${error.message}` : ''}`)
  }
}

function commitOf(name) {
  const args = ['rev-parse', '--verify', '--quiet', `${name}^{commit}`]
  const { status, stdout } = spawnSync('git', args, { cwd: root, encoding: 'utf8' })
  if (status !== 0) throw new StepError(`there is no commit ${name}`)
  return stdout.trim()
}

/** The built command line of a commit. A work tree that is there already is used again. */
function builtAt(name) {
  const commit = commitOf(name)
  const tree = join(root, '.cache', 'compare', commit.slice(0, 12))
  if (!existsSync(join(tree, '.git'))) {
    need('git', ['worktree', 'prune'])
    need('git', ['worktree', 'add', '--force', '--detach', tree, commit])
  }
  say(`building ${name} (${commit.slice(0, 12)})`)
  need(process.execPath, ['scripts/build.mjs'], tree)
  return join(tree, 'dist', 'main.js')
}

await main(() => {
  const given = process.argv.slice(2)
  const split = given.indexOf('--')
  const names = split < 0 ? given : given.slice(0, split)
  const options = split < 0 ? [] : given.slice(split + 1)
  const [before, after, ...more] = names
  if (before === undefined || more.length > 0 || before.startsWith('-')) throw new StepError(USAGE)
  const args = ['--before', builtAt(before), '--no-kafka']
  if (after !== undefined) args.push('--main', builtAt(after))
  args.push(...(options.length > 0 ? options : ['--rows', 'a,d', '--quick', '--no-limit']))
  const command = [join(root, 'scripts', 'bench.mjs'), ...args]
  const { status } = spawnSync(process.execPath, command, { cwd: root, stdio: 'inherit' })
  process.exitCode = status ?? 1
})
