/** Every instruction that the machine knows. */
import { aClauses } from "./a.ts";
import { cClauses } from "./c.ts";
import { cheriClauses } from "./cheri.ts";
import type { Clause } from "./clause.ts";
import { dClauses } from "./d.ts";
import { fClauses } from "./f.ts";
import { iClauses } from "./i.ts";
import { mClauses } from "./m.ts";
import { privilegedClauses } from "./privileged.ts";
import { zbaClauses } from "./zba.ts";
import { zbbClauses } from "./zbb.ts";
import { zbsClauses } from "./zbs.ts";
import { zicsrClauses } from "./zicsr.ts";
import { zifenceiClauses } from "./zifencei.ts";

export const allClauses: readonly Clause[] = [
  ...iClauses,
  ...mClauses,
  ...aClauses,
  ...fClauses,
  ...dClauses,
  ...cClauses,
  ...zicsrClauses,
  ...zifenceiClauses,
  ...privilegedClauses,
  ...zbaClauses,
  ...zbbClauses,
  ...zbsClauses,
  ...cheriClauses,
];
