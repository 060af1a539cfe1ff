// Node's fetch, with the proxy that HTTPS_PROXY names: node fetch.js URL BODY. Prints the status and the body.
import {EnvHttpProxyAgent, fetch, setGlobalDispatcher} from 'undici'

setGlobalDispatcher(new EnvHttpProxyAgent())
const [url, body] = process.argv.slice(2)
try {
  const answer = await fetch(url, {method: 'POST', body, headers: {'content-type': 'application/json', authorization: 'Bearer of-the-vendor'}})
  console.log(answer.status, await answer.text())
} catch (error) {
  console.log('failed', error.cause?.message ?? error.message)
}
