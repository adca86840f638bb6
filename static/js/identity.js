// Who the person at this tab says to be: a token that the server believes, or nobody.

import { tab } from "./storage.js";

const TOKEN = "parley.token";

class Identity extends EventTarget {
  /** `(sentence) => Promise<boolean>`: has the person sign in; the page puts its dialog here. */
  ask = async () => false;
  // It ends with the tab, and no other tab can read it.
  #token = tab.get(TOKEN) || null;
  #asking = null;

  /** Null for nobody. */
  get token() {
    return this.#token;
  }

  /** Who the token names, to be shown and nothing else: only the server can tell whether it is true. */
  get name() {
    return this.#token === null ? null : nameIn(this.#token);
  }

  /** Says "change", in which `isOther` is whether somebody else may be sitting here now; if so, "leave" comes
      before it, while the one who leaves still is who they were. */
  set token(token) {
    const before = this.name;
    const isOther = before !== null && before !== (token === null ? null : nameIn(token));
    if (isOther) this.dispatchEvent(new Event("leave"));
    this.#token = token;
    tab.set(TOKEN, token);
    this.dispatchEvent(new CustomEvent("change", { detail: { isOther } }));
  }

  /** To be asked when the server refused `used`: true once there is another token to try. */
  async renewed(used) {
    if (this.#token !== used) return true;
    this.#asking ??= this.ask(used === null ? "" : "Your token is no longer valid. A new one goes on where you are.")
      .finally(() => { this.#asking = null; });
    return this.#asking;
  }
}

export const identity = new Identity();

export const bearer = (token) => (token === null ? {} : { Authorization: `Bearer ${token}` });

function nameIn(token) {
  try {
    const claims = token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/");
    const bytes = Uint8Array.from(atob(claims), (char) => char.charCodeAt(0));
    return String(JSON.parse(new TextDecoder().decode(bytes)).sub);
  } catch {
    return "somebody";
  }
}
