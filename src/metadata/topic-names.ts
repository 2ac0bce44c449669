/**
 * The topics of an image by their names. Two names that differ only in '.' and '_' collide in
 * metrics, so a new one must not: whom it collides with is found without looking at all of them.
 */
import type { Topic } from './topic.ts'

/** Names with equal keys collide. */
export function collisionKey(name: string): string {
  return name.replaceAll('.', '_')
}

export class TopicNames extends Map<string, Topic> {
  /** By key, of names that can collide at all. */
  readonly #names = new Map<string, string>()

  override set(name: string, topic: Topic): this {
    if (mayCollide(name)) this.#names.set(collisionKey(name), name)
    return super.set(name, topic)
  }

  override delete(name: string): boolean {
    const key = collisionKey(name)
    if (this.#names.get(key) === name) this.#names.delete(key)
    return super.delete(name)
  }

  override clear(): void {
    this.#names.clear()
    super.clear()
  }

  /** The name, not the same, that a new one would collide with; undefined: none. */
  collidingWith(name: string): string | undefined {
    const other = mayCollide(name) ? this.#names.get(collisionKey(name)) : undefined
    return other === name ? undefined : other
  }
}

function mayCollide(name: string): boolean {
  return name.includes('.') || name.includes('_')
}
