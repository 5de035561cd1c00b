BEGIN TRANSACTION;
CREATE TABLE access_key_usages (
	access_key_id TEXT NOT NULL, 
	used DOUBLE NOT NULL, 
	region TEXT NOT NULL, 
	service TEXT NOT NULL, 
	number BIGINT NOT NULL, 
	mac BLOB NOT NULL, 
	PRIMARY KEY (access_key_id)
);
INSERT INTO "access_key_usages" VALUES('AKIA2',2.5,'us-east-1','kms',1,X'30F0ABA7F4056AA4C7D0E05F74E5CEF0DB4CAC8F605F314A2D7BB297E60392E9');
CREATE TABLE access_keys (
	access_key_id TEXT NOT NULL, 
	account TEXT NOT NULL, 
	created DOUBLE NOT NULL, 
	sealed_secret BLOB NOT NULL, 
	number BIGINT NOT NULL, 
	mac BLOB NOT NULL, user_id TEXT, service TEXT, deactivated DOUBLE, 
	PRIMARY KEY (access_key_id)
);
INSERT INTO "access_keys" VALUES('AKIAIOSFODNN7EXAMPLE','111122223333',2.0,X'7365616C6564',1,X'2C88632FA8FDF28EDA4A7955810115FAF5624A12C33FA7FBE93557524FA39D38',NULL,NULL,NULL);
CREATE TABLE accounts (
	account TEXT NOT NULL, 
	created DOUBLE NOT NULL, 
	number BIGINT NOT NULL, 
	mac BLOB NOT NULL, sessions_not_before DOUBLE, 
	PRIMARY KEY (account)
);
INSERT INTO "accounts" VALUES('111122223333',0.1,1,X'0D4B34719037A2136C03DACD71EB6F2A92941788B9E094B7DBB6A12578CD266C',NULL);
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0011');
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
INSERT INTO "aliases" VALUES('111122223333','us-east-1','alias/a','00000001-12ab-34cd-56ef-1234567890ab',1.5,2.5,1,X'7B0A1FF41EF4ECA7EAC351FEF3D6A62145F85DB62E4748E0C4D9E646D0D59074');
CREATE TABLE attached_objects (
	label TEXT NOT NULL, 
	uses BIGINT NOT NULL, 
	number BIGINT NOT NULL, 
	mac BLOB NOT NULL, 
	PRIMARY KEY (label)
);
INSERT INTO "attached_objects" VALUES('label',3,6,X'1281E1D23DA5EC2DB6BC17F4A4A37C7C3998C6131DE4F04C6AFF653B39A3A382');
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
INSERT INTO "audit_outbox" VALUES(1,'chain-1','event-1',X'7B7D',X'7AD88CA0F21AFA45277F8C6B91A7E74FDF8B68C40E9710F9435817456A60DDA3');
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
INSERT INTO "clock_readings" VALUES('boot-1',1760000000.5,12.25,1760000100.0,1,X'6A8ABF4EC97010E8973DC7C1CCD34F8EA19936DF3F76B0B2429350031DA91577');
CREATE TABLE custom_key_stores (
	account TEXT NOT NULL, 
	region TEXT NOT NULL, 
	custom_key_store_id TEXT NOT NULL, 
	name TEXT NOT NULL, 
	type TEXT NOT NULL, 
	created DOUBLE NOT NULL, 
	state TEXT NOT NULL, 
	sealed_secret BLOB NOT NULL, 
	error_code TEXT, 
	cluster_id TEXT, 
	trust_anchor_certificate TEXT, 
	connectivity TEXT, 
	uri_endpoint TEXT, 
	uri_path TEXT, 
	access_key_id TEXT, 
	vpc_endpoint_service_name TEXT, 
	vpc_endpoint_service_owner TEXT, 
	number BIGINT NOT NULL, 
	mac BLOB NOT NULL, 
	PRIMARY KEY (account, region, custom_key_store_id)
);
INSERT INTO "custom_key_stores" VALUES('111122223333','us-east-1','cks-1234567890abcdef0','payments','EXTERNAL_KEY_STORE',5.0,'FAILED',X'7365616C6564','XKS_PROXY_TIMED_OUT','cluster-1234567890a','PEM','VPC_ENDPOINT_SERVICE','https://xks.example.com','/kms/xks/v1','BETAXKS7EXAMPLE23456','com.amazonaws.vpce.us-east-1.vpce-svc-1','111122223333',5,X'1CE56FACE06B4FF063C64EE6F53970D3E96E2DB3CF9B1019B49253D9B185864F');
CREATE TABLE domain_keys (
	purpose TEXT NOT NULL, 
	version INTEGER NOT NULL, 
	created DOUBLE NOT NULL, 
	wrapped BLOB NOT NULL, 
	number BIGINT NOT NULL, 
	mac BLOB NOT NULL, recovery BLOB, 
	PRIMARY KEY (purpose, version)
);
INSERT INTO "domain_keys" VALUES('key-material',2,3.5,X'0077726170706564',2,X'1DE4F3726605101E30E20AE96786FB45DD9D771D4CB560320BBCAF84EEB9D68C',X'7265636F76657279');
CREATE TABLE external_keys (
	prefix TEXT NOT NULL, 
	external_key_id TEXT NOT NULL, 
	created DOUBLE NOT NULL, 
	enabled BOOLEAN NOT NULL, 
	material_id TEXT NOT NULL, 
	algorithm INTEGER NOT NULL, 
	key_store TEXT NOT NULL, 
	domain_key_version INTEGER NOT NULL, 
	wrapped BLOB NOT NULL, 
	uses BIGINT, 
	recovery BLOB, 
	number BIGINT NOT NULL, 
	mac BLOB NOT NULL, 
	PRIMARY KEY (prefix, external_key_id)
);
INSERT INTO "external_keys" VALUES('/a','key',1.5,1,'m',1,'software',1,X'77726170706564',NULL,NULL,6,X'361950F0F25B64F2345AA80EA3F660D7FB5E7CD945AE6C63C622EE2922BE60A5');
CREATE TABLE feed (
	number BIGINT NOT NULL, 
	previous BIGINT NOT NULL, 
	entries TEXT NOT NULL, 
	record_hash BLOB, 
	chain BLOB NOT NULL, 
	PRIMARY KEY (number)
);
INSERT INTO "feed" VALUES(1,0,'[["installation",["installation-1"],null,1],["kms_keys",["111122223333","us-east-1","1234abcd-12ab-34cd-56ef-1234567890ab"],null,1],["key_materials",["111122223333","us-east-1","1234abcd-12ab-34cd-56ef-1234567890ab","abababababababababababababababababababababababababababababababab"],null,1],["domain_keys",["key-material",2],null,1],["accounts",["111122223333"],null,1],["access_keys",["AKIAIOSFODNN7EXAMPLE"],null,1],["access_key_usages",["AKIA2"],null,1],["users",["111122223333","AIDA1"],null,1],["groups",["111122223333","AGPA1"],null,1],["roles",["111122223333","AROA1"],null,1],["managed_policies",["111122223333","ANPA1"],null,1],["identity_providers",["111122223333","issuer.example/a"],null,1],["services",["s3"],null,1],["grants",["111122223333","us-east-1","00000001-12ab-34cd-56ef-1234567890ab","0000000000000000000000000000000000000000000000000000000000000001"],null,1],["aliases",["111122223333","us-east-1","alias/a"],null,1],["key_usages",["111122223333","us-east-1","00000001-12ab-34cd-56ef-1234567890ab"],null,1],["pending_erasures",["111122223333","us-east-1","00000001-12ab-34cd-56ef-1234567890ab"],null,1],["clock_readings",["boot-1"],null,1]]',X'44136FA355B3678A1146AD16F7E8649E94FB4FC21FE77E8310C060F61CAAFF8A',X'A4874732347C1306116D94D09E679AC5EFC008D5163303D1124558F35E1608EC');
INSERT INTO "feed" VALUES(2,1,'[["key_materials",["111122223333","us-east-1","1234abcd-12ab-34cd-56ef-1234567890ab","abababababababababababababababababababababababababababababababab"],1,2],["domain_keys",["key-material",2],1,2]]',NULL,X'B8220EB87A46061EDC8A382268D249F1B1C066043EF72F30EB7ED93F29E37A8D');
INSERT INTO "feed" VALUES(3,2,'[["kms_keys",["111122223333","us-east-1","1234abcd-12ab-34cd-56ef-1234567890ab"],1,3],["key_materials",["111122223333","us-east-1","1234abcd-12ab-34cd-56ef-1234567890ab","abababababababababababababababababababababababababababababababab"],2,3]]',NULL,X'72C3C2A43DF49A84774FB7BE8765C9E63536FBE9C8420EA57063765F4D711BD5');
INSERT INTO "feed" VALUES(4,3,'[["kms_keys",["111122223333","us-east-1","1234abcd-12ab-34cd-56ef-1234567890ab"],3,4],["services",["s3"],1,4]]',NULL,X'EE2A09B134A63425C5D53DB10790AA0C9F26742B0723F4270D2692F30A931319');
INSERT INTO "feed" VALUES(5,4,'[["custom_key_stores",["111122223333","us-east-1","cks-1234567890abcdef0"],null,5],["kms_keys",["111122223333","us-east-1","1234abcd-12ab-34cd-56ef-1234567890ab"],4,5],["pending_erasures",["111122223333","us-east-1","00000001-12ab-34cd-56ef-1234567890ab"],1,5]]',NULL,X'E117FBA11C7506227EB3C32A1A35AA3EF29E9378163C0DC5E5FF118C379D500F');
INSERT INTO "feed" VALUES(6,5,'[["xks_stores",["/a"],null,6],["xks_credentials",["AKIAXKS"],null,6],["external_keys",["/a","key"],null,6],["attached_objects",["label"],null,6]]',NULL,X'4534AC1324CA220744D090633A2F0AE068018978A86BA93B2F145F92D004AEA3');
CREATE TABLE feed_head (
	number BIGINT NOT NULL, 
	chain BLOB NOT NULL, 
	pending TEXT NOT NULL, 
	audit_chains BIGINT NOT NULL, 
	mac BLOB NOT NULL
);
INSERT INTO "feed_head" VALUES(6,X'4534AC1324CA220744D090633A2F0AE068018978A86BA93B2F145F92D004AEA3','[1]',0,X'9DE2F2F0BACCCEA228CB03ED61C5D840F84CE2CC40D930DA4F6329CFB653F424');
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
	mac BLOB NOT NULL, grantee_id TEXT, retiring_id TEXT, 
	PRIMARY KEY (account, region, key_id, grant_id)
);
INSERT INTO "grants" VALUES('111122223333','us-east-1','00000001-12ab-34cd-56ef-1234567890ab','0000000000000000000000000000000000000000000000000000000000000001',1.5,'111122223333','["Encrypt","Decrypt"]',NULL,'arn:1',NULL,NULL,NULL,'{"encryption_context_subset":null,"encryption_context_equals":null,"source_arn":null}',1,X'F5DB79636843A5484D56AE9F85D5BEAD33561040D973C311FEFFBE3997614B34','AIDA1',NULL);
CREATE TABLE groups (
	account TEXT NOT NULL, 
	group_id TEXT NOT NULL, 
	name TEXT NOT NULL, 
	path TEXT NOT NULL, 
	created DOUBLE NOT NULL, 
	policies TEXT NOT NULL, 
	attached TEXT NOT NULL, 
	number BIGINT NOT NULL, 
	mac BLOB NOT NULL, 
	PRIMARY KEY (account, group_id)
);
INSERT INTO "groups" VALUES('111122223333','AGPA1','readers','/a/',2.0,'[]','[]',1,X'DA01B511D5AF60A2F5C55104426A71DA80EF55A5CA691B841965BC63AD868BCB');
CREATE TABLE identity_providers (
	account TEXT NOT NULL, 
	url TEXT NOT NULL, 
	created DOUBLE NOT NULL, 
	client_ids TEXT NOT NULL, 
	thumbprints TEXT NOT NULL, 
	tags TEXT NOT NULL, 
	number BIGINT NOT NULL, 
	mac BLOB NOT NULL, 
	PRIMARY KEY (account, url)
);
INSERT INTO "identity_providers" VALUES('111122223333','issuer.example/a',2.0,'["app"]','[]','[]',1,X'92D67C92003DE8D01FDE15AE54709665BA030603A7B218E21140BA01427D33D1');
CREATE TABLE installation (
	installation_id TEXT NOT NULL, 
	created DOUBLE NOT NULL, 
	chain_public_key BLOB NOT NULL, 
	digest_public_key BLOB NOT NULL, 
	number BIGINT NOT NULL, 
	mac BLOB NOT NULL, usage_tracked_since DOUBLE, recovery_public_key BLOB, backup_verified DOUBLE, 
	PRIMARY KEY (installation_id)
);
INSERT INTO "installation" VALUES('installation-1',1.25,X'636861696E',X'646967657374',1,X'44CDA324E54EFBCE7A818CA6520F98520CB71C8A3C46CB5CB0881551741FCBED',NULL,NULL,NULL);
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
	mac BLOB NOT NULL, public_key BLOB, uses BIGINT, recovery BLOB, description TEXT, valid_to DOUBLE, rotated DOUBLE, rotation_type TEXT, 
	PRIMARY KEY (account, region, key_id, material_id)
);
INSERT INTO "key_materials" VALUES('111122223333','us-east-1','1234abcd-12ab-34cd-56ef-1234567890ab','abababababababababababababababababababababababababababababababab',0,'software',1,X'77726170706564',1.5,3,X'91A8F1186BF6B724B9B3459C9DCEB906CE9B72666AEB2424D36EE8AE14FF5ED6',X'7075626C6963',7,X'7265636F76657279','first',NULL,5.0,'ON_DEMAND');
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
INSERT INTO "key_usages" VALUES('111122223333','us-east-1','00000001-12ab-34cd-56ef-1234567890ab',1.76000000012345600127e+09,'Decrypt','request-1','event-1',1,X'0B4B6C470C06441583567F6FC78816D981C6A90C3FE081644EA3F2BAACF02306');
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
	mac BLOB NOT NULL, deletion_date DOUBLE, pending_window_in_days INTEGER, policy_principals TEXT, rotation_period_in_days INTEGER, next_rotation DOUBLE, on_demand_rotation_start DOUBLE, pending_material_id TEXT, primary_region TEXT, custom_key_store_id TEXT, xks_key_id TEXT, 
	PRIMARY KEY (account, region, key_id)
);
INSERT INTO "kms_keys" VALUES('111122223333','us-east-1','1234abcd-12ab-34cd-56ef-1234567890ab','RSA_2048','SIGN_VERIFY','AWS_KMS','Enabled','first','{}','[["a","b"]]',1.5,'abababababababababababababababababababababababababababababababab','CUSTOMER',1,5,X'8E07C68617436EBB21140900F6F08E905759DF3A7ABFE4F9066DC1DD4DFE2D40',NULL,NULL,NULL,90,7.0,6.0,NULL,'us-east-1','cks-1234567890abcdef0','key-1');
CREATE TABLE managed_policies (
	account TEXT NOT NULL, 
	policy_id TEXT NOT NULL, 
	name TEXT NOT NULL, 
	path TEXT NOT NULL, 
	created DOUBLE NOT NULL, 
	updated DOUBLE NOT NULL, 
	description TEXT NOT NULL, 
	versions TEXT NOT NULL, 
	default_version_id TEXT NOT NULL, 
	newest_version INTEGER NOT NULL, 
	tags TEXT NOT NULL, 
	number BIGINT NOT NULL, 
	mac BLOB NOT NULL, 
	PRIMARY KEY (account, policy_id)
);
INSERT INTO "managed_policies" VALUES('111122223333','ANPA1','read','/',2.0,2.5,'','[{"version_id":"v2","document":"{}","created":2.5}]','v2',2,'[]',1,X'FEADA68000A46F574CF03F51EB99D4DE3250CFA2D9D0DDEEEDC0FFC74657FA30');
CREATE TABLE pending_erasures (
	account TEXT NOT NULL, 
	region TEXT NOT NULL, 
	key_id TEXT NOT NULL, 
	deleted DOUBLE NOT NULL, 
	number BIGINT NOT NULL, 
	mac BLOB NOT NULL, custom_key_store_id TEXT, backing_keys TEXT, 
	PRIMARY KEY (account, region, key_id)
);
INSERT INTO "pending_erasures" VALUES('111122223333','us-east-1','00000001-12ab-34cd-56ef-1234567890ab',3.5,5,X'815842B3CFB3308DB560C078696ED53988430D33211DB38190BCEEBC9251F83E','cks-1234567890abcdef0','["abababababababababababababababababababababababababababababababab"]');
CREATE TABLE roles (
	account TEXT NOT NULL, 
	role_id TEXT NOT NULL, 
	name TEXT NOT NULL, 
	path TEXT NOT NULL, 
	created DOUBLE NOT NULL, 
	trust_policy TEXT NOT NULL, 
	trusted TEXT NOT NULL, 
	description TEXT NOT NULL, 
	max_session_duration INTEGER NOT NULL, 
	tags TEXT NOT NULL, 
	policies TEXT NOT NULL, 
	attached TEXT NOT NULL, 
	boundary TEXT, 
	sessions_not_before DOUBLE, 
	number BIGINT NOT NULL, 
	mac BLOB NOT NULL, 
	PRIMARY KEY (account, role_id)
);
INSERT INTO "roles" VALUES('111122223333','AROA1','reader','/',2.0,'{}','[["arn:1","AIDA1"]]','',3600,'[]','[]','[]',NULL,NULL,1,X'81EB462632534FC08391C4E801E9DF85E2730243FECEE82CB7BE05C674EBB97C');
CREATE TABLE services (
	name TEXT NOT NULL, 
	created DOUBLE NOT NULL, 
	accounts TEXT NOT NULL, 
	operations TEXT NOT NULL, 
	number BIGINT NOT NULL, 
	mac BLOB NOT NULL, protects TEXT, 
	PRIMARY KEY (name)
);
INSERT INTO "services" VALUES('s3',2.0,'["111122223333"]','["Decrypt","GenerateDataKey"]',4,X'30F6C0698E635DF98A0471F3163A667C40B3156B3E1CC5E2128FDE920EAE8FB1','what it protects');
CREATE TABLE users (
	account TEXT NOT NULL, 
	user_id TEXT NOT NULL, 
	name TEXT NOT NULL, 
	path TEXT NOT NULL, 
	created DOUBLE NOT NULL, 
	tags TEXT NOT NULL, 
	groups TEXT NOT NULL, 
	policies TEXT NOT NULL, 
	attached TEXT NOT NULL, 
	boundary TEXT, 
	sessions_not_before DOUBLE, 
	number BIGINT NOT NULL, 
	mac BLOB NOT NULL, 
	PRIMARY KEY (account, user_id)
);
INSERT INTO "users" VALUES('111122223333','AIDA1','ann','/',2.0,'[["a","ä"]]','["AGPA1"]','[["p","{}"]]','["arn:1","arn:2"]','arn:3',2.5,1,X'FA63BB19439D2744F5EDD0D9C3E0F6FE189F06445C0420A4E29AA3D6C68457D6');
CREATE TABLE xks_credentials (
	access_key_id TEXT NOT NULL, 
	prefix TEXT NOT NULL, 
	created DOUBLE NOT NULL, 
	sealed_secret BLOB NOT NULL, 
	number BIGINT NOT NULL, 
	mac BLOB NOT NULL, 
	PRIMARY KEY (access_key_id)
);
INSERT INTO "xks_credentials" VALUES('AKIAXKS','/a',1.5,X'7365616C6564',6,X'F834D04131C08F0ED0B77AD82F724163E5ADCE61C6F13DC6CD740EAC502DFC12');
CREATE TABLE xks_stores (
	prefix TEXT NOT NULL, 
	created DOUBLE NOT NULL, 
	rate INTEGER NOT NULL, 
	rules TEXT NOT NULL, 
	number BIGINT NOT NULL, 
	mac BLOB NOT NULL, 
	PRIMARY KEY (prefix)
);
INSERT INTO "xks_stores" VALUES('/a',1.5,1800,'',6,X'BB11B381B92F7391E2262C05D457FE8E3B046B54BC09444854CB0C9FE987A084');
CREATE INDEX aliases_by_key ON aliases (account, region, target_key_id);
CREATE INDEX grants_by_retiring_principal ON grants (region, retiring_principal, account, key_id, grant_id);
COMMIT;
