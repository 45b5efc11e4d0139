// A real provider of OpenID Connect on a free port of 127.0.0.1, for one test. It prints its issuer, then does what each line of standard
// input says (a JSON object) and answers each with a line; it ends when standard input does.
//
//   {"redirect": "http://…/callback"}              where the client may send people back to
//   {"account": "ann", "claims": {"email": …}}     somebody who can sign in with any password; claims replace those from before
//   {"rotate": "RS256" | "ES256" | "EdDSA"}        a new signing key in place of all others, and the algorithm of ID tokens
//   {"conform": false}                             claims stand in the ID token too, not only at the userinfo endpoint
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';

import Provider from 'oidc-provider';

const KINDS = {
  RS256: ['rsa', { modulusLength: 2048 }],
  ES256: ['ec', { namedCurve: 'P-256' }],
  EdDSA: ['ed25519', {}],
};
const accounts = new Map();
const state = { redirects: ['http://127.0.0.1/none'], conform: true, alg: 'RS256', keys: [] };
let serve = (_request, response) => response.writeHead(503).end();

function rotate(alg) {
  const key = generateKeyPairSync(...KINDS[alg]).privateKey.export({ format: 'jwk' });
  const kept = alg === 'RS256' ? [] : state.keys.filter((other) => other.alg === 'RS256').slice(0, 1);
  Object.assign(state, { alg, keys: [{ ...key, alg, use: 'sig', kid: randomBytes(8).toString('hex') }, ...kept] });
}

function rebuild(issuer) {
  const provider = new Provider(issuer, {
    clients: [{
      client_id: 'lotline', client_secret: 'a secret of the test: 100% / + &', redirect_uris: state.redirects,
      id_token_signed_response_alg: state.alg,
    }],
    jwks: { keys: state.keys },
    enabledJWA: { idTokenSigningAlgValues: Object.keys(KINDS) },
    conformIdTokenClaims: state.conform,
    scopes: ['openid', 'email', 'profile', 'groups'],
    claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'], groups: ['groups'] },
    cookies: { keys: ['only a test'] },
    ttl: { Interaction: 600, Session: 600, Grant: 600, IdToken: 600, AccessToken: 600 },
    findAccount: (_ctx, id) => accounts.has(id)
      ? { accountId: id, claims: () => ({ sub: id, ...accounts.get(id) }) } : undefined,
  });
  serve = provider.callback();
}

const server = createServer((request, response) => serve(request, response));
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  rotate('RS256');
  rebuild(issuer);
  console.log(issuer);
  const lines = createInterface({ input: process.stdin });
  lines.on('line', (line) => {
    const asked = JSON.parse(line);
    if (asked.redirect) state.redirects = [asked.redirect];
    if (asked.account) accounts.set(asked.account, asked.claims);
    if (asked.rotate) rotate(asked.rotate);
    if (asked.conform !== undefined) state.conform = asked.conform;
    if (!asked.account) rebuild(issuer);
    console.log('done');
  });
  lines.on('close', () => process.exit(0));
});
