// A real, certified OpenID provider for the tests: node provider.js PORT. POST /rotate makes it sign with a new key.
import { createServer } from 'node:http';
import { generateKeyPairSync } from 'node:crypto';
import Provider from 'oidc-provider';

const port = Number(process.argv[2]);
const issuer = `http://127.0.0.1:${port}`;
const keys = [];
let made = 0;
let provider;

function addKey() {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  keys.unshift({ ...privateKey.export({ format: 'jwk' }), kid: `key-${(made += 1)}`, use: 'sig', alg: 'RS256' });
  keys.splice(2); // publish only the two newest keys
  provider = new Provider(issuer, configuration());
  provider.callbackOfToday = provider.callback();
}

function configuration() {
  return {
    jwks: { keys },
    clients: [
      {
        client_id: 'weir-cli', token_endpoint_auth_method: 'none', application_type: 'native',
        redirect_uris: ['http://127.0.0.1/callback'], response_types: ['code'],
        grant_types: ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'],
      },
      {
        client_id: 'nightly', client_secret: 'nightly-secret-000000000000000000', grant_types: ['client_credentials'],
        redirect_uris: [], response_types: [],
      },
      {
        client_id: 'gateway', client_secret: 'gateway-secret-000000000000000000', grant_types: [], redirect_uris: [],
        response_types: [],
      },
    ],
    cookies: { keys: ['a key of the tests'] },
    scopes: ['openid', 'offline_access', 'rank'],
    pkce: { required: () => true },
    rotateRefreshToken: true,
    issueRefreshToken: async () => true,
    findAccount: async (ctx, id) => ({ accountId: id, claims: async () => ({ sub: id, groups: ['search'] }) }),
    extraTokenClaims: async () => ({ groups: ['search'] }),
    ttl: { AccessToken: 90, ClientCredentials: 90, IdToken: 90, RefreshToken: 3600, Grant: 3600, Session: 3600, Interaction: 600, DeviceCode: 600, AuthorizationCode: 60 },
    features: {
      devInteractions: { enabled: true },
      deviceFlow: { enabled: true },
      introspection: { enabled: true, allowedPolicy: async () => true },
      revocation: { enabled: true },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        useGrantedResource: async () => true,
        getResourceServerInfo: async (ctx, indicator) => ({
          scope: 'rank openid offline_access', audience: 'weir', accessTokenTTL: 90,
          accessTokenFormat: indicator.endsWith('/opaque') ? 'opaque' : 'jwt',
        }),
      },
    },
  };
}

addKey();
createServer((request, response) => {
  if (request.method === 'POST' && request.url === '/rotate') {
    addKey();
    response.end(keys[0].kid);
  } else {
    provider.callbackOfToday(request, response);
  }
}).listen(port, '127.0.0.1', () => console.log('listening'));
