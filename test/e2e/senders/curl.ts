/** Commands of curl as people type them, without the address. `programs/curl.ts` records what they send. */

export interface CurlCommand {
  /** Also the name of the Broker and of the recording. */
  readonly name: string;
  readonly args: readonly string[];
}

function event(id: string, contentType = 'application/json'): readonly string[] {
  const lines = [
    'ce-specversion: 1.0',
    `ce-id: ${id}`,
    'ce-source: /shell',
    'ce-type: com.example.typed',
    ...(contentType === '' ? [] : [`Content-Type: ${contentType}`]),
  ];
  return lines.flatMap((line) => ['-H', line]);
}

const STRUCTURED = `{
  "specversion": "1.0", "id": "curl-structured", "source": "/shell", "type": "com.example.typed",
  "data": {"name": "Zoë"}
}
`;

export const CURL_COMMANDS: readonly CurlCommand[] = [
  { name: 'curl-binary', args: [...event('curl-binary'), '-d', '{"name": "Zoë"}'] },
  {
    name: 'curl-structured',
    args: [
      '-H',
      'Content-Type: application/cloudevents+json; charset=UTF-8',
      '--data-binary',
      STRUCTURED,
    ],
  },
  {
    name: 'curl-chunked',
    args: [...event('curl-chunked'), '-H', 'Transfer-Encoding: chunked', '-d', '{"n": 1}'],
  },
  {
    name: 'curl-expect',
    args: [...event('curl-expect'), '-H', 'Expect: 100-continue', '-d', '{"n": 2}'],
  },
  { name: 'curl-http10', args: [...event('curl-http10'), '-0', '-d', '{"n": 3}'] },
  { name: 'curl-nothing', args: [...event('curl-nothing', ''), '-X', 'POST'] },
  // curl gives data the content type of a form unless somebody says another.
  { name: 'curl-form', args: [...event('curl-form', ''), '-d', 'a=1&b=2'] },
];
