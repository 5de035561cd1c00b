BEGIN TRANSACTION;
CREATE TABLE access_keys (
	access_key_id TEXT NOT NULL, 
	account TEXT NOT NULL, 
	created DOUBLE NOT NULL, 
	sealed_secret BLOB NOT NULL, 
	number BIGINT NOT NULL, 
	mac BLOB NOT NULL, 
	PRIMARY KEY (access_key_id)
);
INSERT INTO "access_keys" VALUES('AKIAIOSFODNN7EXAMPLE','111122223333',1.5,X'7365616C6564',1,X'C1C445B464884E552FB0A523D276177075CE6DBB9641E7D3B4425842ACB9ECD2');
CREATE TABLE accounts (
	account TEXT NOT NULL, 
	created DOUBLE NOT NULL, 
	number BIGINT NOT NULL, 
	mac BLOB NOT NULL, 
	PRIMARY KEY (account)
);
INSERT INTO "accounts" VALUES('111122223333',1.5,1,X'76ED51C2C21F3402728AFA01CFE894883AC5EECEEC5F0C67CA3EDAE795C17CAE');
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0004');
CREATE TABLE aliases (
	account TEXT NOT NULL, 
	region TEXT NOT NULL, 
	name TEXT NOT NULL, 
	target_key_id TEXT NOT NULL, 
	created DOUBLE NOT NULL, 
	last_updated DOUBLE NOT NULL, 
	number BIGINT NOT NULL, 
	mac BLOB NOT NULL, 
	PRIMARY KEY (account, region, name)
);
INSERT INTO "aliases" VALUES('111122223333','us-east-1','alias/a','1234abcd-12ab-34cd-56ef-1234567890ab',1.5,1.5,1,X'425D0D3AFE4A89E136ECE8B370FB1387D8F5A008EEE83C02458B731D83E464EA');
CREATE TABLE audit_chains (
	chain_id TEXT NOT NULL, 
	serial BIGINT NOT NULL, 
	opened DOUBLE NOT NULL, 
	sequence BIGINT NOT NULL, 
	chain_mac BLOB NOT NULL, 
	ended BOOLEAN NOT NULL, 
	mac BLOB NOT NULL, 
	PRIMARY KEY (chain_id)
);
CREATE TABLE audit_outbox (
	number BIGINT NOT NULL, 
	chain_id TEXT NOT NULL, 
	event_id TEXT NOT NULL, 
	record BLOB NOT NULL, 
	mac BLOB NOT NULL, 
	PRIMARY KEY (number)
);
INSERT INTO "audit_outbox" VALUES(1,'chain-1','event-1',X'7B226576656E744E616D65223A2278227D',X'E80822181581C0ECE1AF154E44BE02987E8FB62378E7F6713A5D0B5121A25940');
CREATE TABLE checkpoint (
	number BIGINT NOT NULL, 
	chain BLOB NOT NULL, 
	floor_number BIGINT NOT NULL, 
	floor_chain BLOB NOT NULL, 
	listing TEXT NOT NULL, 
	mac BLOB NOT NULL
);
INSERT INTO "checkpoint" VALUES(0,X'8825D7FF219DB12B516762C1F44495AC945871F31CEF8634B318798363572AF0',0,X'8825D7FF219DB12B516762C1F44495AC945871F31CEF8634B318798363572AF0','[]',X'1864A8489A86CB0EFA514338376C30710B41574ECFF60711E225EF50CE5F74D9');
CREATE TABLE clock_readings (
	boot_id TEXT NOT NULL, 
	wall DOUBLE NOT NULL, 
	boot DOUBLE NOT NULL, 
	latest DOUBLE NOT NULL, 
	number BIGINT NOT NULL, 
	mac BLOB NOT NULL, 
	PRIMARY KEY (boot_id)
);
INSERT INTO "clock_readings" VALUES('boot-1',1.5,2.5,1.5,1,X'356F6A003DDBCA961684B40975474557268B750C46B9093E22D6290D8F0877F5');
CREATE TABLE domain_keys (
	purpose TEXT NOT NULL, 
	version INTEGER NOT NULL, 
	created DOUBLE NOT NULL, 
	wrapped BLOB NOT NULL, 
	number BIGINT NOT NULL, 
	mac BLOB NOT NULL, 
	PRIMARY KEY (purpose, version)
);
INSERT INTO "domain_keys" VALUES('key-material',1,1.5,X'77726170706564',1,X'96A943D1B3C63969F84FC27766F411CBCBDE291F7C29A9159AE133C35D268F4C');
CREATE TABLE feed (
	number BIGINT NOT NULL, 
	previous BIGINT NOT NULL, 
	entries TEXT NOT NULL, 
	record_hash BLOB, 
	chain BLOB NOT NULL, 
	PRIMARY KEY (number)
);
INSERT INTO "feed" VALUES(1,0,'[["installation",["installation-1"],null,1],["domain_keys",["key-material",1],null,1],["accounts",["111122223333"],null,1],["access_keys",["AKIAIOSFODNN7EXAMPLE"],null,1],["kms_keys",["111122223333","us-east-1","1234abcd-12ab-34cd-56ef-1234567890ab"],null,1],["key_materials",["111122223333","us-east-1","1234abcd-12ab-34cd-56ef-1234567890ab","abababababababababababababababababababababababababababababababab"],null,1],["aliases",["111122223333","us-east-1","alias/a"],null,1],["grants",["111122223333","us-east-1","1234abcd-12ab-34cd-56ef-1234567890ab","cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"],null,1],["key_usages",["111122223333","us-east-1","another"],null,1],["pending_erasures",["111122223333","us-east-1","another"],null,1],["clock_readings",["boot-1"],null,1]]',X'E55D2A8C08B42E83E8696FD38522FC87B34913DE8118F29771BE59CBC6036056',X'74DAA1467768089409DE193376C8A17AFF094E3DF9DFE8077D988F1000C93B80');
CREATE TABLE feed_head (
	number BIGINT NOT NULL, 
	chain BLOB NOT NULL, 
	pending TEXT NOT NULL, 
	audit_chains BIGINT NOT NULL, 
	mac BLOB NOT NULL
);
INSERT INTO "feed_head" VALUES(1,X'74DAA1467768089409DE193376C8A17AFF094E3DF9DFE8077D988F1000C93B80','[1]',0,X'466AD70230A38A088799EF86211E71E7B6AF83882764D25FA16C64D4103E360E');
CREATE TABLE grants (
	account TEXT NOT NULL, 
	region TEXT NOT NULL, 
	key_id TEXT NOT NULL, 
	grant_id TEXT NOT NULL, 
	created DOUBLE NOT NULL, 
	issuing_account TEXT NOT NULL, 
	operations TEXT NOT NULL, 
	name TEXT, 
	grantee_principal TEXT, 
	grantee_service TEXT, 
	retiring_principal TEXT, 
	retiring_service TEXT, 
	constraints TEXT NOT NULL, 
	number BIGINT NOT NULL, 
	mac BLOB NOT NULL, 
	PRIMARY KEY (account, region, key_id, grant_id)
);
INSERT INTO "grants" VALUES('111122223333','us-east-1','1234abcd-12ab-34cd-56ef-1234567890ab','cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd',1.5,'111122223333','["Encrypt"]',NULL,'arn:aws:iam::111122223333:root',NULL,NULL,NULL,'{"encryption_context_subset":{"a":"b"},"encryption_context_equals":null,"source_arn":null}',1,X'B6E66696E065582080BB040D7A60D4BB7B832DC483141F49712F2615DF0AC3D7');
CREATE TABLE installation (
	installation_id TEXT NOT NULL, 
	created DOUBLE NOT NULL, 
	chain_public_key BLOB NOT NULL, 
	digest_public_key BLOB NOT NULL, 
	number BIGINT NOT NULL, 
	mac BLOB NOT NULL, usage_tracked_since DOUBLE, 
	PRIMARY KEY (installation_id)
);
INSERT INTO "installation" VALUES('installation-1',1.5,X'636861696E',X'646967657374',1,X'0715E77BD7DA404E7DC7064C6C9B5D7EC8B029CBBEBB263DE9E938F0B1133C40',NULL);
CREATE TABLE key_materials (
	account TEXT NOT NULL, 
	region TEXT NOT NULL, 
	key_id TEXT NOT NULL, 
	material_id TEXT NOT NULL, 
	algorithm INTEGER NOT NULL, 
	key_store TEXT NOT NULL, 
	domain_key_version INTEGER NOT NULL, 
	wrapped BLOB NOT NULL, 
	created DOUBLE NOT NULL, 
	number BIGINT NOT NULL, 
	mac BLOB NOT NULL, 
	PRIMARY KEY (account, region, key_id, material_id)
);
INSERT INTO "key_materials" VALUES('111122223333','us-east-1','1234abcd-12ab-34cd-56ef-1234567890ab','abababababababababababababababababababababababababababababababab',1,'software',1,X'77726170706564',1.5,1,X'2CBC96D333328EDABC0464DB05882EA9A0DF0839361D78781C60E1EE0BE54A72');
CREATE TABLE key_usages (
	account TEXT NOT NULL, 
	region TEXT NOT NULL, 
	key_id TEXT NOT NULL, 
	used DOUBLE NOT NULL, 
	operation TEXT NOT NULL, 
	request_id TEXT NOT NULL, 
	event_id TEXT NOT NULL, 
	number BIGINT NOT NULL, 
	mac BLOB NOT NULL, 
	PRIMARY KEY (account, region, key_id)
);
INSERT INTO "key_usages" VALUES('111122223333','us-east-1','another',1.5,'Encrypt','request-1','event-1',1,X'3C8AD0FC4159786BEB71416E66955C0BED88E79AF1CA31313855AF3C1C526CAC');
CREATE TABLE kms_keys (
	account TEXT NOT NULL, 
	region TEXT NOT NULL, 
	key_id TEXT NOT NULL, 
	key_spec TEXT NOT NULL, 
	key_usage TEXT NOT NULL, 
	origin TEXT NOT NULL, 
	state TEXT NOT NULL, 
	description TEXT NOT NULL, 
	policy TEXT NOT NULL, 
	tags TEXT NOT NULL, 
	created DOUBLE NOT NULL, 
	current_material_id TEXT NOT NULL, 
	key_manager TEXT NOT NULL, 
	multi_region BOOLEAN NOT NULL, 
	number BIGINT NOT NULL, 
	mac BLOB NOT NULL, deletion_date DOUBLE, pending_window_in_days INTEGER, 
	PRIMARY KEY (account, region, key_id)
);
INSERT INTO "kms_keys" VALUES('111122223333','us-east-1','1234abcd-12ab-34cd-56ef-1234567890ab','SYMMETRIC_DEFAULT','ENCRYPT_DECRYPT','AWS_KMS','Enabled','first','{}','[["a","b"]]',1.5,'abababababababababababababababababababababababababababababababab','CUSTOMER',0,1,X'7D1C206CC49237847683C7424C2539B2FBE929AA14FF211884CE5AB2E95B6361',NULL,NULL);
CREATE TABLE pending_erasures (
	account TEXT NOT NULL, 
	region TEXT NOT NULL, 
	key_id TEXT NOT NULL, 
	deleted DOUBLE NOT NULL, 
	number BIGINT NOT NULL, 
	mac BLOB NOT NULL, 
	PRIMARY KEY (account, region, key_id)
);
INSERT INTO "pending_erasures" VALUES('111122223333','us-east-1','another',1.5,1,X'F8F371E48D7904EA70A151501EC2255FFF67ED7A1F5DA22BB355E5056D920C2E');
CREATE INDEX aliases_by_key ON aliases (account, region, target_key_id);
CREATE INDEX grants_by_retiring_principal ON grants (region, retiring_principal, account, key_id, grant_id);
COMMIT;
