// Who asks, and how a request of the playground says so: in development mode by a name; behind a door by the cookies of signing in, or by a token
// or an API key that was pasted and then stands alone.
//
// Cookies are the browser's matter. What no page of another site can send goes along as x-csrf-token; it is read from its cookie each time, since
// another tab may have brought the next one.

const AUTH = '/api/v1/auth/';
const CSRF = ['lotline_csrf', '__Host-lotline_csrf'];
const OTHER_TAB_MS = 300;
const JSON_BODY = { 'content-type': 'application/json' };

function csrf() {
  const cookies = new Map(document.cookie.split('; ').map((pair) => pair.split('=', 2)));
  const names = location.protocol === 'https:' ? [...CSRF].reverse() : CSRF;
  return names.map((name) => cookies.get(name)).find(Boolean) || '';
}

/** What a refused request says: { code, message }. */
export async function refusal(answer) {
  const body = await answer.json().catch(() => ({}));
  const error = body.errors && body.errors[0] || {};
  return { code: error.extensions && error.extensions.code, message: error.message || 'the server answers ' + answer.status };
}

export class Door {
  /** The actor in development mode, else a token or key in place of the cookies. */
  given = '';
  #renewing = null;

  constructor(enforced) { this.enforced = enforced; }

  /** Whether requests go by cookies. */
  get byCookie() { return this.enforced && !this.given; }

  /** Whether somebody has signed in, as far as the browser knows; asks nobody. */
  get isSignedIn() { return csrf() !== ''; }

  /** Signs in; throws what was wrong. */
  async signIn(email, password) {
    const answer = await this.#post('sign-in', { email, password, cookies: true, client: 'playground' });
    if (!answer.ok) { throw new Error((await refusal(answer)).message); }
  }

  /** Ends the session; throws when it may go on. */
  async signOut() {
    const answer = await this.send(AUTH + 'sign-out', { method: 'POST' });
    if (!answer.ok && answer.status !== 401) { throw new Error((await refusal(answer)).message); }
  }

  /** Sends a request with the credential. Where the access token has ended, the next one is asked for, once. */
  async send(path, init) {
    const answer = await this.#once(path, init);
    if (answer.status !== 401 || !this.byCookie || !this.isSignedIn) { return answer; }
    return await this.renew() ? this.#once(path, init) : answer;
  }

  /** Sends a GraphQL operation. */
  ask(operation, accept = 'application/json', signal = undefined) {
    return this.send('/graphql', { method: 'POST', signal, headers: { ...JSON_BODY, accept }, body: JSON.stringify(operation) });
  }

  /** Asks for the next tokens, once for all who want them; gives whether there are any; throws when that can't be said now. Of two tabs the second is told that the first gets them: the browser
   *  has them in a moment. */
  renew() {
    this.#renewing ??= this.#next().finally(() => { this.#renewing = null; });
    return this.#renewing;
  }

  async #next() {
    const answer = await this.#post('refresh', {});
    if (answer.ok) { return true; }
    const { code, message } = await refusal(answer);
    if (answer.status === 429 || answer.status >= 500) { throw new Error(message); }
    if (code !== 'REFRESH_SUPERSEDED') { return false; }
    await new Promise((done) => { setTimeout(done, OTHER_TAB_MS); });
    return true;
  }

  #post(route, body) {
    return this.#once(AUTH + route, { method: 'POST', headers: JSON_BODY, body: JSON.stringify(body) });
  }

  #once(path, init) {
    const credentials = this.byCookie ? 'same-origin' : 'omit';
    return fetch(path, { ...init, credentials, headers: { ...init.headers, ...this.#credential() } });
  }

  #credential() {
    if (!this.enforced) { return { 'x-lotline-actor': this.given }; }
    if (this.given) { return { authorization: 'Bearer ' + this.given }; }
    const text = csrf();
    return text ? { 'x-csrf-token': text } : {};
  }
}
