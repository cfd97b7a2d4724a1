// What browsers have and TypeScript's own library does not describe yet (w3.org/TR/trusted-types).
interface TrustedTypePolicyFactory {
  createPolicy(name: string, rules: { createScriptURL(url: string): string }): { createScriptURL(url: string): object };
}
declare var trustedTypes: TrustedTypePolicyFactory | undefined;
