// A certified OpenID provider (npm oidc-provider) on a free loopback port, printed on the first line. What it signs in
// is set by `PUT /test`; what a certified provider cannot do (a wrong nonce, another audience) is signed again, with its
// own key, on the way out; and a path can be made to return rubbish.
//
// PUT /test {account?, login?, claims?, header?, key?, answer?}   GET /test/logout?sub=&sid=   POST /test/rotate

import { createServer } from 'node:http';
import { createSecretKey, generateKeyPairSync, randomUUID } from 'node:crypto';
import { SignJWT, decodeJwt, importJWK } from 'jose';
import Provider from 'oidc-provider';

const [redirectUri] = process.argv.slice(2);
const SECRET = 'a secret that the service and the provider share';
let state = {};
let provider;
let key;
let issuer;

function newKey() {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  return { ...privateKey.export({ format: 'jwk' }), kid: randomUUID(), alg: 'RS256', use: 'sig' };
}

function build() {
  key = newKey();
  provider = new Provider(issuer, {
    jwks: { keys: [key] },
    clients: [{
      client_id: 'caducee',
      client_secret: SECRET,
      redirect_uris: [redirectUri],
      post_logout_redirect_uris: [new URL('/sign-in', redirectUri).href],
      backchannel_logout_uri: 'https://staff.example.org/sign-in/logout',
      backchannel_logout_session_required: true,
    }],
    claims: { openid: ['sub', 'groups', 'team', 'name'], acr: null, amr: null, sid: null },
    acrValues: ['eidas1', 'eidas2'],
    conformIdTokenClaims: false,
    cookies: { keys: [randomUUID()] },
    features: {
      devInteractions: { enabled: false },
      backchannelLogout: { enabled: true },
      claimsParameter: { enabled: true },
      rpInitiatedLogout: { enabled: true, logoutSource: askForLogout },
    },
    findAccount: (ctx, accountId) => ({ accountId, claims: () => ({ ...state.account, sub: accountId }) }),
    interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
    pkce: { required: () => true },
    fetch: async (url, options) => {
      state.logout = new URLSearchParams(options.body).get('logout_token');
      return new Response(null, { status: 200 });
    },
  });
  provider.use(async (ctx, next) => {
    await next();
    if (ctx.path === '/token' && ctx.body?.id_token && (state.claims || state.header || state.key)) {
      ctx.body = { ...ctx.body, id_token: await signedAgain(ctx.body.id_token) };
    }
  });
}

// The token with other claims or another header; `key`: `none`, `secret` (HMAC with the client's secret), or `other`.
async function signedAgain(token) {
  const claims = { ...decodeJwt(token), ...state.claims };
  for (const name of Object.keys(claims)) if (claims[name] === null) delete claims[name];
  const base64url = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  if (state.key === 'none') return `${base64url({ alg: 'none' })}.${base64url(claims)}.`;
  const header = { alg: 'RS256', kid: key.kid, ...state.header };
  if (state.key === 'secret') {
    return new SignJWT(claims).setProtectedHeader({ ...header, alg: 'HS256' }).sign(createSecretKey(Buffer.from(SECRET)));
  }
  return new SignJWT(claims).setProtectedHeader(header).sign(await importJWK(state.key === 'other' ? newKey() : key, 'RS256'));
}

function askForLogout(ctx, form) {
  ctx.body = `<!doctype html><title>Sign out?</title>${form}<button form="op.logoutForm" name="logout" value="yes">Yes</button>`;
}

async function interact(request, response) {
  const { prompt, params, session } = await provider.interactionDetails(request, response);
  if (prompt.name === 'login') {
    return provider.interactionFinished(request, response, { login: { accountId: state.account.sub, remember: false, ...state.login } });
  }
  const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  grant.addOIDCScope(params.scope);
  return provider.interactionFinished(request, response, { consent: { grantId: await grant.save() } });
}

async function logoutToken(query) {
  const client = await provider.Client.find('caducee');
  await client.backchannelLogout(query.get('sub'), query.get('sid'));
  return state.claims || state.header || state.key ? signedAgain(state.logout) : state.logout;
}

const server = createServer(async (request, response) => {
  const url = new URL(request.url, issuer);
  if (url.pathname === '/test' && request.method === 'PUT') {
    let body = '';
    for await (const piece of request) body += piece;
    state = JSON.parse(body);
    response.end();
  } else if (url.pathname === '/test/rotate') {
    build();
    response.end();
  } else if (url.pathname === '/test/logout') {
    response.end(await logoutToken(url.searchParams));
  } else if (state.answer && url.pathname.startsWith(state.answer.path)) {
    const { status = 200, body = '', repeat = 1, silent = false } = state.answer;
    if (silent) return;
    response.writeHead(status, { 'content-type': 'application/json', location: issuer }).end(body.repeat(repeat));
  } else if (url.pathname.startsWith('/interaction/')) {
    await interact(request, response);
  } else {
    provider.callback()(request, response);
  }
});
server.listen(0, '127.0.0.1', () => {
  issuer = `http://127.0.0.1:${server.address().port}`;
  build();
  console.log(issuer);
});
