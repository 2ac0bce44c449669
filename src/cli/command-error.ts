/** A command cannot do what it was asked to, and its message says why and what helps. */
export class CommandError extends Error {}

/** A command has found that something is not as it should be, and has said so already. */
export class CheckFailed extends Error {}
