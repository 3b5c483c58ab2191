/** How translated code comes back, beyond {@link Exit.Fuel}. Other numbers than the interpreter's. */

/** Nothing is translated at pc. */
export const NOT_TRANSLATED = 16;
/** The instruction at pc is for the interpreter. */
export const TO_INTERPRETER = 17;
/** The hart is in a state that code is not translated for. */
export const UNUSABLE = 18;
