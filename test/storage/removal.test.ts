import assert from 'node:assert/strict'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { NodeFiles } from '../../src/storage/node-files.ts'
import { isRemoved, removeReplica } from '../../src/storage/removal.ts'

/** Dies before it has removed anything, or in the middle of it. */
class DyingFiles extends NodeFiles {
  readonly calls: string[] = []
  override rename(from: string, to: string): void {
    this.calls.push('rename')
    super.rename(from, to)
  }
  override syncDirectory(path: string): void {
    this.calls.push(`sync ${path.split('/').at(-1)}`)
    super.syncDirectory(path)
  }
  override removeDirectory(path: string): void {
    if (!existsSync(path)) return
    this.calls.push('remove')
    throw new Error('killed')
  }
}

test('a replica that is removed, is gone as a whole, wherever the process dies', (context) => {
  const root = mkdtempSync(join(tmpdir(), 'millrace-removal-'))
  context.after(() => rmSync(root, { recursive: true }))
  const directory = join(root, '0123456789abcdef0123456789abcdef-0')
  const fill = (): void => {
    mkdirSync(directory)
    for (const name of ['1.log', '2.log']) writeFileSync(join(directory, name), 'x')
  }
  fill()
  const dying = new DyingFiles()
  assert.throws(() => removeReplica(dying, directory), /killed/)
  assert.deepEqual(dying.calls, ['rename', `sync ${root.split('/').at(-1)}`, 'remove'])
  assert.equal(existsSync(directory), false)
  const [left] = readdirSync(root)
  assert.ok(left !== undefined && isRemoved(left), `${left} is known for what it is`)
  assert.ok(!isRemoved('backup.removed'), 'somebody else may call theirs so')
  // It came back meanwhile, and goes again.
  fill()
  removeReplica(new NodeFiles(), directory)
  assert.deepEqual(readdirSync(root), [])
  removeReplica(new NodeFiles(), directory)
})
