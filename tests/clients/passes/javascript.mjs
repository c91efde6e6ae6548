// Checks with @aws-sdk/client-s3, one after the other; a line of JSON for each: its name, and what was wrong or null.
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import * as s3 from "@aws-sdk/client-s3";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";

const { ENDPOINT, PREFIX, ATTEMPTS } = process.env;
const client = new s3.S3Client({ endpoint: ENDPOINT, forcePathStyle: true, maxAttempts: Number(ATTEMPTS) });
const CHECK_MS_MAX = 60_000;
const checks = [];
const check = (name, run) => checks.push([name, run]);
const send = (command, input) => client.send(new s3[`${command}Command`](input));
const bytes = async (input) => Buffer.from(await (await send("GetObject", input)).Body.transformToByteArray());
const md5 = (data) => `"${createHash("md5").update(data).digest("hex")}"`;

async function bucket(what) {
  const Bucket = `${PREFIX}${what}`;
  await send("CreateBucket", { Bucket });
  return Bucket;
}

async function refused(status, name, command, input) {
  await assert.rejects(send(command, input), (error) => {
    assert.deepEqual([error.$metadata?.httpStatusCode, error.name], [status, name], `${command}: ${error}`);
    return true;
  });
}

check("buckets", async () => {
  const Bucket = await bucket("life");
  await send("HeadBucket", { Bucket });
  assert((await send("ListBuckets", {})).Buckets.some((found) => found.Name === Bucket));
  await send("DeleteBucket", { Bucket });
  await refused(404, "NotFound", "HeadBucket", { Bucket });
});

check("put, head, get with metadata and checksums", async () => {
  const Bucket = await bucket("put");
  for (const size of [0, 1, 70_000, 3 << 20]) {
    const Body = randomBytes(size), at = { Bucket, Key: "a b+ü/%20" };
    const put = await send("PutObject", { ...at, Body, ContentType: "text/x-j", Metadata: { who: "js" } });
    assert.equal(put.ETag, md5(Body));
    const head = await send("HeadObject", { ...at, ChecksumMode: "ENABLED" });
    const said = [head.ContentLength, head.ETag, head.ContentType, head.Metadata, head.ChecksumCRC32];
    assert.deepEqual(said, [size, put.ETag, "text/x-j", { who: "js" }, put.ChecksumCRC32]);
    assert(put.ChecksumCRC32);
    assert((await bytes(at)).equals(Body));
  }
});

check("put of a stream: in chunks, with a trailer", async () => {
  const Bucket = await bucket("stream"), Body = randomBytes(200_000), at = { Bucket, Key: "k" };
  await send("PutObject", { ...at, Body: Readable.from([Body.subarray(0, 70_000), Body.subarray(70_000)]), ContentLength: Body.length });
  assert((await bytes(at)).equals(Body));
  assert.equal((await send("HeadObject", at)).ContentEncoding, undefined);
});

check("each checksum that the client computes", async () => {
  const Bucket = await bucket("sums"), Body = randomBytes(70_000);
  for (const algorithm of ["CRC32", "CRC32C", "SHA1", "SHA256", "CRC64NVME"]) {
    const at = { Bucket, Key: algorithm };
    const put = await send("PutObject", { ...at, Body, ChecksumAlgorithm: algorithm });
    assert(put[`Checksum${algorithm}`], algorithm);
    const got = await send("GetObject", { ...at, ChecksumMode: "ENABLED" });
    assert.equal(got[`Checksum${algorithm}`], put[`Checksum${algorithm}`]);
    assert(Buffer.from(await got.Body.transformToByteArray()).equals(Body));
  }
});

check("ranges", async () => {
  const Bucket = await bucket("ranges"), Body = randomBytes(100_000), at = { Bucket, Key: "k" };
  await send("PutObject", { ...at, Body });
  assert((await bytes({ ...at, Range: "bytes=65530-65540" })).equals(Body.subarray(65_530, 65_541)));
  assert((await bytes({ ...at, Range: "bytes=-7" })).equals(Body.subarray(-7)));
  await refused(416, "InvalidRange", "GetObject", { ...at, Range: "bytes=100000-" });
});

check("conditional writes", async () => {
  const Bucket = await bucket("conditions"), at = { Bucket, Key: "k" };
  const first = await send("PutObject", { ...at, Body: "first", IfNoneMatch: "*" });
  await refused(412, "PreconditionFailed", "PutObject", { ...at, Body: "second", IfNoneMatch: "*" });
  await send("PutObject", { ...at, Body: "third", IfMatch: first.ETag });
  await refused(412, "PreconditionFailed", "PutObject", { ...at, Body: "fourth", IfMatch: first.ETag });
  assert.equal((await bytes(at)).toString(), "third");
});

check("lists in pages, with delimiter", async () => {
  const Bucket = await bucket("list"), keys = ["a b", "a+b", "dir/x", "dir/ü", "z<&>"];
  for (const Key of keys) await send("PutObject", { Bucket, Key, Body: Key });
  const found = [];
  for await (const page of s3.paginateListObjectsV2({ client, pageSize: 2 }, { Bucket })) {
    found.push(...page.Contents.map((entry) => entry.Key));
  }
  assert.deepEqual(found, keys);
  const rolled = await send("ListObjects", { Bucket, Delimiter: "/", EncodingType: "url" });
  assert.deepEqual(rolled.Contents.map((entry) => decodeURIComponent(entry.Key.replaceAll("+", " "))), ["a b", "a+b", "z<&>"]);
  assert.deepEqual(rolled.CommonPrefixes, [{ Prefix: "dir/" }]);
});

check("copy and delete, one and many", async () => {
  const Bucket = await bucket("copy"), Body = randomBytes(100_000);
  await send("PutObject", { Bucket, Key: "a b+ü", Body, Metadata: { who: "js" } });
  const copied = await send("CopyObject", { Bucket, Key: "copy", CopySource: encodeURIComponent(`${Bucket}/a b+ü`) });
  assert.equal(copied.CopyObjectResult.ETag, md5(Body));
  assert((await bytes({ Bucket, Key: "copy" })).equals(Body));
  const deleted = await send("DeleteObjects", { Bucket, Delete: { Objects: ["a b+ü", "copy", "none"].map((Key) => ({ Key })) } });
  assert.deepEqual([deleted.Deleted.map((entry) => entry.Key).sort(), deleted.Errors], [["a b+ü", "copy", "none"], undefined]);
  await refused(404, "NoSuchKey", "GetObject", { Bucket, Key: "copy" });
  await send("DeleteObject", { Bucket, Key: "none" });
});

check("presigned GET and PUT with fetch", async () => {
  const Bucket = await bucket("presigned"), at = { Bucket, Key: "a b+ü" };
  const plain = new s3.S3Client({ endpoint: ENDPOINT, forcePathStyle: true, requestChecksumCalculation: "WHEN_REQUIRED" });
  const put = await getSignedUrl(plain, new s3.PutObjectCommand({ ...at, Metadata: { who: "js" } }), { expiresIn: 60 });
  assert.equal((await fetch(put, { method: "PUT", body: "presigned" })).status, 200);
  const got = await fetch(await getSignedUrl(client, new s3.GetObjectCommand(at), { expiresIn: 60 }));
  assert.deepEqual([got.status, await got.text()], [200, "presigned"]);
  assert.deepEqual((await send("HeadObject", at)).Metadata, { who: "js" });
});

// By default this client signs the CRC32 of nothing into the URL of a PUT: another body is not what was signed.
check("presigned PUT with the checksum of another body", async () => {
  const Bucket = await bucket("presignedsum"), at = { Bucket, Key: "k" };
  const url = await getSignedUrl(client, new s3.PutObjectCommand(at), { expiresIn: 60 });
  const put = await fetch(url, { method: "PUT", body: "presigned" });
  assert.match(`${put.status} ${await put.text()}`, /^(400.*BadDigest|501.*NotImplemented)/s);
  await refused(404, "NoSuchKey", "GetObject", at);
});

check("wrong keys", async () => {
  const Bucket = await bucket("wrong");
  const at = { endpoint: ENDPOINT, forcePathStyle: true, maxAttempts: 1 };
  const other = (accessKeyId, secretAccessKey) => new s3.S3Client({ ...at, credentials: { accessKeyId, secretAccessKey } });
  const cases = [
    [process.env.AWS_ACCESS_KEY_ID, "x".repeat(40), "SignatureDoesNotMatch"],
    ["A".repeat(20), "x".repeat(40), "InvalidAccessKeyId"],
  ];
  for (const [id, secret, name] of cases) {
    await assert.rejects(other(id, secret).send(new s3.PutObjectCommand({ Bucket, Key: "k", Body: "x" })), { name });
  }
  await refused(404, "NoSuchKey", "GetObject", { Bucket, Key: "k" });
});

check("multipart", async () => {
  const Bucket = await bucket("multipart"), at = { Bucket, Key: "k" }, data = randomBytes(6 << 20);
  const { UploadId } = await send("CreateMultipartUpload", at);
  const Parts = [];
  for (const [n, Body] of [data.subarray(0, 5 << 20), data.subarray(5 << 20)].entries()) {
    const { ETag, ChecksumCRC32 } = await send("UploadPart", { ...at, UploadId, PartNumber: n + 1, Body });
    Parts.push({ PartNumber: n + 1, ETag, ChecksumCRC32 });
  }
  await send("CompleteMultipartUpload", { ...at, UploadId, MultipartUpload: { Parts } });
  assert((await bytes(at)).equals(data));
});

check("multipart: eight parts at once, and listed", async () => {
  const Bucket = await bucket("parts"), at = { Bucket, Key: "a b+ü" }, size = 5 << 20, data = randomBytes(7 * size + 7);
  const { UploadId } = await send("CreateMultipartUpload", { ...at, ChecksumAlgorithm: "SHA256" });
  const numbers = Array.from({ length: 8 }, (_, n) => n + 1);
  const sent = await Promise.all(
    numbers.map(async (PartNumber) => {
      const Body = data.subarray((PartNumber - 1) * size, PartNumber * size);
      const input = { ...at, UploadId, PartNumber, Body, ChecksumAlgorithm: "SHA256" };
      const { ETag, ChecksumSHA256 } = await send("UploadPart", input);
      return { PartNumber, ETag, ChecksumSHA256 };
    }),
  );
  const listed = await send("ListParts", { ...at, UploadId, MaxParts: 5 });
  assert.deepEqual([listed.Parts.length, listed.IsTruncated, listed.NextPartNumberMarker], [5, true, "5"]);
  const done = await send("CompleteMultipartUpload", { ...at, UploadId, MultipartUpload: { Parts: sent } });
  assert(done.ChecksumSHA256.endsWith("-8"), done.ChecksumSHA256);
  assert((await bytes({ ...at, ChecksumMode: "ENABLED" })).equals(data));
  assert.equal((await send("HeadObject", { ...at, PartNumber: 8 })).PartsCount, 8);
});

for (const [name, run] of checks.filter(([name]) => name.includes(process.env.ONLY ?? ""))) {
  let error = null;
  let late;
  try {
    const tooLate = new Promise((_, fail) => {
      late = setTimeout(() => fail(new Error(`not within ${CHECK_MS_MAX} ms`)), CHECK_MS_MAX);
    });
    await Promise.race([run(), tooLate]);
  } catch (caught) {
    error = `${caught.name}: ${caught.message} ${caught.$metadata ? JSON.stringify(caught.$metadata) : ""}`;
  }
  clearTimeout(late);
  console.log(JSON.stringify({ name, error }));
}
// What a check left open would keep the program alive.
process.exit(0);
